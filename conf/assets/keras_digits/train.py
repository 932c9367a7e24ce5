"""Trains the network of digits.keras on three quarters of the digits, and converts it to digits.tflite.

Run in the toolchain `tensorflow`, with this project's root as the working directory (README.md says how).
"""

import os

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_NUM_INTRAOP_THREADS": "1"}

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from builder.data.files import in_portion
from builder.specs import Split

HERE = "conf/assets/keras_digits"


def digits(low: float, high: float):
    """Return the digits that conf/data/digits.yaml calls so: features [n, 64] and labels [n]."""
    with np.load("conf/assets/digits/digits.npz") as stored:
        features, labels = stored["samples"], stored["labels"]
    chosen = [in_portion(row.tobytes(), Split(portion=[low, high])) for row in features]
    return features[chosen], labels[chosen]


def shifted(features, labels):
    """Return the images, and each of them moved by one pixel up, down, left and right."""
    images = features.reshape(-1, 8, 8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moved = [padded[:, y : y + 8, x : x + 8] for y, x in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, len(moved))


def network():
    """Return a small CNN of the usual layers: convolutions with batch normalization, a separable one, pooling."""
    pixels = keras.Input((64,), name="pixels")
    x = layers.Reshape((8, 8, 1))(pixels)
    x = layers.Rescaling(1 / 16)(x)
    for filters in (16, 32):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(max_value=6.0)(x)
    x = layers.MaxPooling2D()(x)
    x = layers.SeparableConv2D(48, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(pixels, layers.Dense(10, name="scores")(x), name="digits")


keras.utils.set_random_seed(0)
model = network()
rate = keras.optimizers.schedules.CosineDecay(3e-3, decay_steps=40 * 212)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
model.fit(*shifted(*digits(0.0, 0.75)), epochs=40, batch_size=32, verbose=2)
print("test", model.evaluate(*digits(0.75, 1.0), verbose=0))

plain = keras.Model.from_config(model.get_config())  # without the state of training
plain.set_weights(model.get_weights())
plain.save(f"{HERE}/digits.keras")
with open(f"{HERE}/digits.tflite", "wb") as file:
    file.write(tf.lite.TFLiteConverter.from_keras_model(plain).convert())

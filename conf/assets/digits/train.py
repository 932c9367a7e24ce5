"""Models for the 8 x 8 digits of scikit-learn, fitted when they are exported: it takes a second."""

from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


def pca(features, labels, components: int = 32) -> Pipeline:
    """Return a scaler, a PCA and a logistic regression in one pipeline."""
    fitted = make_pipeline(
        StandardScaler(), PCA(components, svd_solver="full"), LogisticRegression(max_iter=2000, random_state=0)
    )
    return fitted.fit(features, labels)


def trees(features, labels, count: int = 60, depth: int = 4):
    """Return gradient-boosted trees of XGBoost."""
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=count, max_depth=depth, learning_rate=0.3, random_state=0).fit(features, labels)

/* Stands in for NVIDIA's management library: GPUs 0 and 1, which know nothing of CUDA_VISIBLE_DEVICES. Only what we call. */
#include <stdio.h>
#include <stdlib.h>

static int reads;

int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  unsigned number;
  if (sscanf(uuid, "GPU-00000000-0000-0000-0000-%12x", &number) != 1 || number > 1) return 6;
  *device = (void *)(size_t)(number + 1);
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
  const char *most = getenv("STAND_IN_READS");
  *millijoules = (size_t)device * 1000;
  return most && reads++ >= atoi(most) ? 15 : 0;
}

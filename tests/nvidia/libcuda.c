/* Stands in for NVIDIA's driver library where there is no GPU: its memory is the process's own. Only what we call. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned flags) { return flags ? 1 : 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)0x1234; return device; }
int cuCtxSetCurrent(void *context) { return context == (void *)0x1234 ? 0 : 201; }
int cuDeviceGetUuid_v2(char *uuid, int device) {
  const char *shown = getenv("CUDA_VISIBLE_DEVICES");
  memset(uuid, 0, 16);
  uuid[15] = device + (shown ? atoi(shown) : 0);
  return 0;
}
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Orin", length); return device; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 8 : 7; return device; }
int cuMemGetInfo_v2(size_t *unused, size_t *total) { *unused = 1 << 20; *total = 1 << 21; return 0; }
int cuMemAlloc_v2(uint64_t *address, size_t size) { *address = (uint64_t)malloc(size); return size > 1 << 30 ? 2 : 0; }
int cuMemFree_v2(uint64_t address) { free((void *)address); return 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) { memcpy((void *)to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) { memcpy(to, (void *)from, size); return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = (void *)0x5678; return flags == 1 ? 0 : 1; }
int cuStreamSynchronize(void *stream) { return stream == (void *)0x5678 ? 0 : 400; }
int cuGetErrorString(int code, const char **words) { *words = code == 2 ? "out of memory" : "wrong"; return 0; }

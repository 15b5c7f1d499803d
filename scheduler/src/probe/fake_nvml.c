/* Stands in for libnvidia-ml.so.1: INIT_ERROR is what the start answers, COUNT_ERROR what the list does; with NO_MEMORY
   the call for memory is missing, as in an old driver. Two devices, the second of which cannot be opened. */
#include <string.h>
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } memory;
int nvmlInit_v2(void) { return INIT_ERROR; }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return INIT_ERROR; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int error) { (void)error; return "fake"; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return COUNT_ERROR; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
  if (index) return 15;
  *device = (void *)1;
  return 0;
}
int nvmlDeviceGetName(void *device, char *name, unsigned int size) {
  (void)device;
  strncpy(name, "Fake 24G", size);
  return 0;
}
#ifndef NO_MEMORY
int nvmlDeviceGetMemoryInfo_v2(void *device, memory *info) {
  (void)device;
  info->total = 24ULL << 30;
  info->reserved = 0;
  info->used = 1ULL << 30;
  info->free = 23ULL << 30;
  return 0;
}
#endif

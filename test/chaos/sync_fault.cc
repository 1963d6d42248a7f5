// Preloaded into a node (LD_PRELOAD): a disk that hangs. While the file that
// SLUICE_SYNC_FAULT names exists, no sync of the process ends. Nothing fails
// and nothing is lost; what runs on, runs on.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

namespace {

constexpr useconds_t kLookEveryUs = 5'000;

void WaitWhileItHangs() {
  static const char* const fault = std::getenv("SLUICE_SYNC_FAULT");
  if (fault == nullptr) return;
  while (::access(fault, F_OK) == 0) ::usleep(kLookEveryUs);
}

using Sync = int (*)(int);

int AfterTheFault(const char* name, int fd) {
  WaitWhileItHangs();
  return reinterpret_cast<Sync>(::dlsym(RTLD_NEXT, name))(fd);
}

}  // namespace

extern "C" int fdatasync(int fd) { return AfterTheFault("fdatasync", fd); }
extern "C" int fsync(int fd) { return AfterTheFault("fsync", fd); }
extern "C" int syncfs(int fd) noexcept { return AfterTheFault("syncfs", fd); }

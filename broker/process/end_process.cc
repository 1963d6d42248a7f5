#include "broker/process/end_process.h"

#include <glog/logging.h>
#include <unistd.h>

#include "common/base/error.h"

namespace sluice {

void EndProcess(const absl::Status& why) {
  LOG(ERROR) << "FATAL " << NameOf(CodeOf(why)) << ": " << why.message()
             << "; this process ends here";
  google::FlushLogFiles(google::INFO);
  _exit(kExitFatal);
}

}  // namespace sluice

#include "storage/rocks_kv_store_faults_testing.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

namespace sluice {

namespace {

using rocksdb::FileOptions;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

}  // namespace

// RocksDB calls from threads of its own.
struct FaultyRocksDisk::State {
  struct Fault {
    Operation operation;
    std::string part;
    int left;
    bool full;
  };

  IOStatus Check(Operation operation, const std::string& path) {
    const std::lock_guard<std::mutex> lock(mutex);
    for (Fault& fault : faults) {
      if (fault.operation != operation || fault.left == 0 ||
          path.find(fault.part) == std::string::npos) {
        continue;
      }
      if (fault.left != kForEver) --fault.left;
      ++hits;
      return fault.full ? IOStatus::NoSpace("no room, as the test says", path)
                        : IOStatus::IOError("as the test says", path);
    }
    return IOStatus::OK();
  }
  // What was read, in a buffer that may be written.
  void Flip(const std::string& path, Slice* result, char* scratch) {
    const std::lock_guard<std::mutex> lock(mutex);
    const bool flips = std::any_of(
        flipped.begin(), flipped.end(), [&](const std::string& part) {
          return path.find(part) != std::string::npos;
        });
    if (!flips || result->size() < 16) return;
    if (result->data() != scratch) {
      std::copy_n(result->data(), result->size(), scratch);
      *result = Slice(scratch, result->size());
    }
    scratch[result->size() / 2] ^= 0x10;
    ++hits;
  }

  std::mutex mutex;
  std::vector<Fault> faults;          // guarded by mutex
  std::vector<std::string> flipped;   // guarded by mutex
  int hits = 0;                       // guarded by mutex
};

namespace {

using Operation = FaultyRocksDisk::Operation;

}  // namespace

class FaultyRocksDisk::Files final : public rocksdb::FileSystemWrapper {
 public:
  explicit Files(std::shared_ptr<State> state)
      : FileSystemWrapper(rocksdb::FileSystem::Default()),
        state_(std::move(state)) {}
  const char* Name() const override { return "FaultyRocksDisk"; }

  IOStatus NewSequentialFile(const std::string& path, const FileOptions& file,
                             std::unique_ptr<rocksdb::FSSequentialFile>* out,
                             IODebugContext* debug) override {
    if (IOStatus s = state_->Check(Operation::kOpen, path); !s.ok()) return s;
    std::unique_ptr<rocksdb::FSSequentialFile> opened;
    IOStatus s = target()->NewSequentialFile(path, file, &opened, debug);
    if (s.ok()) {
      *out = std::make_unique<Sequential>(std::move(opened), state_, path);
    }
    return s;
  }
  IOStatus NewRandomAccessFile(
      const std::string& path, const FileOptions& file,
      std::unique_ptr<rocksdb::FSRandomAccessFile>* out,
      IODebugContext* debug) override {
    if (IOStatus s = state_->Check(Operation::kOpen, path); !s.ok()) return s;
    std::unique_ptr<rocksdb::FSRandomAccessFile> opened;
    IOStatus s = target()->NewRandomAccessFile(path, file, &opened, debug);
    if (s.ok()) {
      *out = std::make_unique<RandomAccess>(std::move(opened), state_, path);
    }
    return s;
  }
  IOStatus NewWritableFile(const std::string& path, const FileOptions& file,
                           std::unique_ptr<rocksdb::FSWritableFile>* out,
                           IODebugContext* debug) override {
    if (IOStatus s = state_->Check(Operation::kOpen, path); !s.ok()) return s;
    std::unique_ptr<rocksdb::FSWritableFile> opened;
    IOStatus s = target()->NewWritableFile(path, file, &opened, debug);
    if (s.ok()) {
      *out = std::make_unique<Writable>(std::move(opened), state_, path);
    }
    return s;
  }

 private:
  class Sequential final : public rocksdb::FSSequentialFileOwnerWrapper {
   public:
    Sequential(std::unique_ptr<rocksdb::FSSequentialFile> file,
               std::shared_ptr<State> state, std::string path)
        : FSSequentialFileOwnerWrapper(std::move(file)),
          state_(std::move(state)),
          path_(std::move(path)) {}
    IOStatus Read(size_t n, const IOOptions& options, Slice* result,
                  char* scratch, IODebugContext* debug) override {
      if (IOStatus s = state_->Check(Operation::kRead, path_); !s.ok()) {
        return s;
      }
      IOStatus s = target()->Read(n, options, result, scratch, debug);
      if (s.ok()) state_->Flip(path_, result, scratch);
      return s;
    }

   private:
    const std::shared_ptr<State> state_;
    const std::string path_;
  };

  class RandomAccess final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    RandomAccess(std::unique_ptr<rocksdb::FSRandomAccessFile> file,
                 std::shared_ptr<State> state, std::string path)
        : FSRandomAccessFileOwnerWrapper(std::move(file)),
          state_(std::move(state)),
          path_(std::move(path)) {}
    IOStatus Read(uint64_t offset, size_t n, const IOOptions& options,
                  Slice* result, char* scratch,
                  IODebugContext* debug) const override {
      if (IOStatus s = state_->Check(Operation::kRead, path_); !s.ok()) {
        return s;
      }
      IOStatus s = target()->Read(offset, n, options, result, scratch, debug);
      if (s.ok()) state_->Flip(path_, result, scratch);
      return s;
    }

   private:
    const std::shared_ptr<State> state_;
    const std::string path_;
  };

  class Writable final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    Writable(std::unique_ptr<rocksdb::FSWritableFile> file,
             std::shared_ptr<State> state, std::string path)
        : FSWritableFileOwnerWrapper(std::move(file)),
          state_(std::move(state)),
          path_(std::move(path)) {}
    IOStatus Append(const Slice& data, const IOOptions& options,
                    IODebugContext* debug) override {
      if (IOStatus s = state_->Check(Operation::kWrite, path_); !s.ok()) {
        return s;
      }
      return target()->Append(data, options, debug);
    }
    IOStatus Append(const Slice& data, const IOOptions& options,
                    const rocksdb::DataVerificationInfo& info,
                    IODebugContext* debug) override {
      if (IOStatus s = state_->Check(Operation::kWrite, path_); !s.ok()) {
        return s;
      }
      return target()->Append(data, options, info, debug);
    }
    IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
      if (IOStatus s = state_->Check(Operation::kSync, path_); !s.ok()) {
        return s;
      }
      return target()->Sync(options, debug);
    }
    IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
      if (IOStatus s = state_->Check(Operation::kSync, path_); !s.ok()) {
        return s;
      }
      return target()->Fsync(options, debug);
    }

   private:
    const std::shared_ptr<State> state_;
    const std::string path_;
  };

  const std::shared_ptr<State> state_;
};

FaultyRocksDisk::FaultyRocksDisk()
    : state_(std::make_shared<State>()),
      env_(rocksdb::NewCompositeEnv(std::make_shared<Files>(state_))) {}

FaultyRocksDisk::~FaultyRocksDisk() = default;

rocksdb::Env* FaultyRocksDisk::env() { return env_.get(); }

void FaultyRocksDisk::Fail(Operation operation, const std::string& part,
                           int count, bool full) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->faults.push_back({operation, part, count, full});
}

void FaultyRocksDisk::FlipReads(const std::string& part) {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->flipped.push_back(part);
}

void FaultyRocksDisk::Mend() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->faults.clear();
  state_->flipped.clear();
}

int FaultyRocksDisk::faults() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->hits;
}

}  // namespace sluice

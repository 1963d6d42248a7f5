// The checkpoints of one directory's store of views: made so that a view that
// is lost is not replayed from its log's start, and read to fill it again.
//
//   <path>/checkpoint-7/manifest     view_manifest.h
//   <path>/checkpoint-7/store/...    the store's files; RocksDB links tables
//   <path>/draft                     one that is being made
//   <path>/removed                   one that is being removed
//   <path>/damaged                   the newest that did not match its manifest
//
// A checkpoint is there whole or not at all: its files are synced before it
// gets its name. Nothing is read from it before every file has the size and the
// checksum that its manifest names. One that has not is set aside; who asked
// takes an older one, or the log.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/coordinator/view_manifest.h"
#include "common/env/executor.h"
#include "common/env/file_system.h"
#include "common/env/published.h"
#include "storage/kv_store.h"

namespace sluice::coordinator {

class ViewCheckpoints {
 public:
  // One goes when two newer ones have all that it has; more than four are never
  // kept. Two: the newest may turn out damaged.
  static constexpr size_t kCovering = 2;
  static constexpr size_t kMost = 4;
  // Read at a time to compare checksums, before other work has its turn.
  static constexpr int64_t kVerifiedAtATime = 1 << 20;
  // One that nobody has read for so long is closed.
  static constexpr int64_t kReaderIdleUs = 10'000'000;
  // Of keys and values that one answer holds; the last may exceed it.
  static constexpr size_t kPieceBytes = 256 << 10;

  struct Deps {
    FileSystem* fs = nullptr;
    std::function<absl::StatusOr<std::unique_ptr<KvStore>>(
        const std::string& path)>
        open;
    std::string path;
    Executor* io_executor = nullptr;
  };
  struct Checkpoint {
    uint64_t number = 0;
    ViewManifest manifest;
  };
  using List = std::vector<Checkpoint>;

  explicit ViewCheckpoints(Deps deps);
  ~ViewCheckpoints();
  ViewCheckpoints(const ViewCheckpoints&) = delete;

  // What is there. Blocks; before anything runs.
  void Load();
  // Any thread: newest first.
  std::shared_ptr<const List> Now() const { return now_.Load(); }
  // Of what `store` has now, and how many bytes it takes; old ones go. On
  // io_executor; blocks.
  absl::StatusOr<int64_t> Make(KvStore& store);

  struct Piece {
    std::vector<KvStore::KeyValue> keys;
    bool last = false;
  };
  // Any thread: keys of [from, end) in checkpoint `number`, answered on
  // `executor`. An error: it is gone, or damaged and no longer in Now().
  void Read(uint64_t number, std::string from, std::string end,
            Executor* executor,
            absl::AnyInvocable<void(absl::StatusOr<Piece>)> done);

 private:
  struct Request {
    uint64_t number;
    std::string from;
    std::string end;
    Executor* executor;
    absl::AnyInvocable<void(absl::StatusOr<Piece>)> done;
  };
  // Of one that is read, or about to be.
  struct Reader {
    std::unique_ptr<KvStore> kv;  // null: it is not verified yet
    std::vector<Request> waiting;
    bool touched = true;
    // What is being verified.
    size_t file = 0;
    std::shared_ptr<File> open;
    int64_t done_bytes = 0;
    uint32_t crc32c = 0;
  };

  const Checkpoint* Find(uint64_t number) const;
  std::string PathOf(uint64_t number) const;
  void Publish(List list);
  absl::StatusOr<ViewManifest> ReadManifest(uint64_t number);
  absl::StatusOr<ViewManifest> WriteDraft(KvStore& store,
                                          const std::string& draft);
  absl::Status Remove(uint64_t number);
  void RemoveSuperseded();
  void OnRequest(Request request);
  void Verify(uint64_t number);
  absl::StatusOr<bool> VerifyStep(const Checkpoint& checkpoint,
                                  Reader& reader);
  absl::Status OpenReader(const Checkpoint& checkpoint, Reader& reader);
  void Serve(Reader& reader, Request request);
  void CloseIdle(uint64_t number);
  void SetAside(uint64_t number, const absl::Status& why);
  void MoveAside(uint64_t number);
  static void Answer(Request request, absl::StatusOr<Piece> answer);

  const Deps deps_;
  Published<List> now_;
  // On io_executor, after Load.
  uint64_t next_number_ = 1;
  std::map<uint64_t, Reader> readers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::coordinator

#include "broker/coordinator/view_checkpoints.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "broker/coordinator/view_prefix.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice::coordinator {
namespace {

constexpr std::string_view kName = "checkpoint-";
constexpr char kManifest[] = "manifest";
constexpr char kStore[] = "/store";

std::optional<uint64_t> NumberOf(std::string_view name) {
  uint64_t number = 0;
  if (!name.starts_with(kName) ||
      !absl::SimpleAtoi(AbslView(name.substr(kName.size())), &number) ||
      name != StrCat(kName, number)) {
    return std::nullopt;
  }
  return number;
}

absl::Status RemoveIfThere(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  return exists ? RemoveTree(fs, path) : absl::OkStatus();
}

absl::Status SyncFile(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kReadWrite));
  return file->SyncData();
}

// How far each view in the store is; one that has no mark is being filled.
absl::StatusOr<std::vector<ViewMark>> MarksOf(const KvStore& store) {
  std::vector<ViewMark> marks;
  const std::string end = EndOfPrefix(std::string(kViewTag));
  for (std::string from(kViewTag);;) {
    std::optional<TopicPartition> tp;
    RETURN_IF_ERROR(store.Scan(from, end, [&](std::string_view key, auto) {
      tp = ViewOfKey(key);
      return false;
    }));
    if (!tp.has_value()) return marks;
    const std::string prefix = ViewPrefixOf(*tp);
    ASSIGN_OR_RETURN(const auto stored,
                     store.Get(prefix + offsets::AppliedKey()));
    if (stored.has_value()) {
      const auto applied = offsets::DecodeApplied(*stored);
      if (!applied.has_value()) {
        return MakeError(ErrorCode::kStorageError, "where the view of ", *tp,
                         " is cannot be read");
      }
      marks.push_back({*tp, *applied});
    }
    from = EndOfPrefix(prefix);
  }
}

int64_t BytesOf(const ViewManifest& manifest) {
  int64_t bytes = 0;
  for (const KvFile& file : manifest.files) bytes += file.bytes;
  return bytes;
}

}  // namespace

ViewCheckpoints::ViewCheckpoints(Deps deps)
    : deps_(std::move(deps)), now_(std::make_shared<const List>()) {}

ViewCheckpoints::~ViewCheckpoints() { *alive_ = false; }

const ViewCheckpoints::Checkpoint* ViewCheckpoints::Find(
    uint64_t number) const {
  for (const Checkpoint& checkpoint : *Now()) {
    // The list lives on in now_: only this executor replaces it.
    if (checkpoint.number == number) return &checkpoint;
  }
  return nullptr;
}

std::string ViewCheckpoints::PathOf(uint64_t number) const {
  return StrCat(deps_.path, "/", kName, number);
}

void ViewCheckpoints::Publish(List list) {
  now_.Store(std::make_shared<const List>(std::move(list)));
}

// ---- What is there ----

void ViewCheckpoints::Load() {
  const auto exists = deps_.fs->Exists(deps_.path);
  if (exists.ok() && !*exists) return;
  const auto entries = deps_.fs->List(deps_.path);
  if (!entries.ok()) {
    LOG(ERROR) << "checkpoints of offsets' views in " << deps_.path
               << " cannot be listed: " << entries.status()
               << "; views that are lost are replayed from their logs";
    return;
  }
  List list;
  for (const DirectoryEntry& entry : *entries) {
    const auto number = NumberOf(entry.name);
    if (!entry.is_directory || !number.has_value()) continue;
    next_number_ = std::max(next_number_, *number + 1);
    auto manifest = ReadManifest(*number);
    if (manifest.ok()) {
      list.push_back({*number, *std::move(manifest)});
    } else {
      SetAside(*number, manifest.status());
    }
  }
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return a.number > b.number;
  });
  Publish(std::move(list));
}

absl::StatusOr<ViewManifest> ViewCheckpoints::ReadManifest(uint64_t number) {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadFile(*deps_.fs, PathOf(number) + "/" + kManifest,
                            kManifestBytesMax));
  return DecodeManifest(text);
}

// ---- A new one ----

absl::StatusOr<int64_t> ViewCheckpoints::Make(KvStore& store) {
  RETURN_IF_ERROR(CreateDirectories(*deps_.fs, deps_.path));
  const std::string draft = deps_.path + "/draft";
  RETURN_IF_ERROR(RemoveIfThere(*deps_.fs, draft));
  auto manifest = WriteDraft(store, draft);
  if (!manifest.ok()) {
    const absl::Status removed = RemoveIfThere(*deps_.fs, draft);
    LOG_IF(WARNING, !removed.ok())
        << "what was made of " << draft << " stays until the next checkpoint: "
        << removed;
    return manifest.status();
  }
  const uint64_t number = next_number_++;
  RETURN_IF_ERROR(deps_.fs->Rename(draft, PathOf(number)));
  RETURN_IF_ERROR(deps_.fs->SyncDirectory(deps_.path));
  const int64_t bytes = BytesOf(*manifest);
  List list = *Now();
  list.insert(list.begin(), {number, *std::move(manifest)});
  Publish(std::move(list));
  RemoveSuperseded();
  return bytes;
}

// All of it is on the disk when this returns.
absl::StatusOr<ViewManifest> ViewCheckpoints::WriteDraft(
    KvStore& store, const std::string& draft) {
  FileSystem& fs = *deps_.fs;
  RETURN_IF_ERROR(fs.CreateDirectory(draft));
  ViewManifest manifest;
  ASSIGN_OR_RETURN(manifest.files, store.Checkpoint(draft + kStore));
  {
    ASSIGN_OR_RETURN(const auto kv, deps_.open(draft + kStore));
    ASSIGN_OR_RETURN(manifest.views, MarksOf(*kv));
  }
  for (const KvFile& file : manifest.files) {
    RETURN_IF_ERROR(SyncFile(fs, StrCat(draft, kStore, "/", file.name)));
  }
  RETURN_IF_ERROR(fs.SyncDirectory(draft + kStore));
  RETURN_IF_ERROR(
      WriteFileAtomically(fs, draft, kManifest, EncodeManifest(manifest)));
  return manifest;
}

// It loses its name before it loses a file: a crash on the way is no damage.
absl::Status ViewCheckpoints::Remove(uint64_t number) {
  const std::string removed = deps_.path + "/removed";
  RETURN_IF_ERROR(RemoveIfThere(*deps_.fs, removed));
  RETURN_IF_ERROR(deps_.fs->Rename(PathOf(number), removed));
  RETURN_IF_ERROR(deps_.fs->SyncDirectory(deps_.path));
  return RemoveTree(*deps_.fs, removed);
}

void ViewCheckpoints::RemoveSuperseded() {
  const auto list = Now();
  std::vector<const ViewManifest*> manifests;
  for (const Checkpoint& checkpoint : *list) {
    manifests.push_back(&checkpoint.manifest);
  }
  List left = *list;
  for (const size_t at : Superseded(manifests, kCovering, kMost)) {
    const uint64_t number = (*list)[at].number;
    if (readers_.contains(number)) continue;
    const absl::Status removed = Remove(number);
    LOG_IF(ERROR, !removed.ok())
        << "checkpoint " << PathOf(number) << " cannot be removed: " << removed
        << "; what is left of it goes with the next one";
    std::erase_if(left, [&](const auto& c) { return c.number == number; });
  }
  Publish(std::move(left));
}

// ---- Reading ----

void ViewCheckpoints::Read(
    uint64_t number, std::string from, std::string end, Executor* executor,
    absl::AnyInvocable<void(absl::StatusOr<Piece>)> done) {
  deps_.io_executor->Post(
      [this, alive = alive_,
       request = Request{number, std::move(from), std::move(end), executor,
                         std::move(done)}]() mutable {
        if (*alive) OnRequest(std::move(request));
      });
}

void ViewCheckpoints::OnRequest(Request request) {
  const uint64_t number = request.number;
  if (Find(number) == nullptr) {
    return Answer(std::move(request),
                  MakeError(ErrorCode::kStorageError, "checkpoint ",
                            PathOf(number), " is gone"));
  }
  const auto [it, fresh] = readers_.try_emplace(number);
  Reader& reader = it->second;
  reader.touched = true;
  if (reader.kv != nullptr) return Serve(reader, std::move(request));
  reader.waiting.push_back(std::move(request));
  if (!fresh) return;  // it is being verified
  CloseIdle(number);
  Verify(number);
}

// Step by step: others read logs on this executor, too.
void ViewCheckpoints::Verify(uint64_t number) {
  const Checkpoint* const checkpoint = Find(number);
  const auto found = readers_.find(number);
  if (checkpoint == nullptr || found == readers_.end()) return;
  Reader& reader = found->second;
  reader.touched = true;
  const auto verified = VerifyStep(*checkpoint, reader);
  if (!verified.ok()) return SetAside(number, verified.status());
  if (!*verified) {
    return deps_.io_executor->Post([this, alive = alive_, number] {
      if (*alive) Verify(number);
    });
  }
  const absl::Status opened = OpenReader(*checkpoint, reader);
  if (!opened.ok()) return SetAside(number, opened);
  for (Request& request : std::exchange(reader.waiting, {})) {
    // One that fails may end the reader: each looks again.
    OnRequest(std::move(request));
  }
}

// True: all of it is as its manifest says.
absl::StatusOr<bool> ViewCheckpoints::VerifyStep(const Checkpoint& checkpoint,
                                                 Reader& reader) {
  const auto& files = checkpoint.manifest.files;
  if (reader.file == files.size() || MUTANT(kCheckpointUnverified)) return true;
  const KvFile& file = files[reader.file];
  if (reader.open == nullptr) {
    const std::string path =
        StrCat(PathOf(checkpoint.number), kStore, "/", file.name);
    ASSIGN_OR_RETURN(reader.open, deps_.fs->Open(path, OpenMode::kRead));
    ASSIGN_OR_RETURN(const int64_t bytes, reader.open->Size());
    if (bytes != file.bytes) {
      return MakeError(ErrorCode::kStorageError, path, " has ", bytes,
                       " bytes, its manifest says ", file.bytes);
    }
    reader.done_bytes = 0;
    reader.crc32c = Crc32c("");
  }
  std::string piece(
      static_cast<size_t>(
          std::min(kVerifiedAtATime, file.bytes - reader.done_bytes)),
      '\0');
  ASSIGN_OR_RETURN(const size_t got,
                   reader.open->ReadAt(reader.done_bytes, piece));
  if (got != piece.size()) {
    return MakeError(ErrorCode::kStorageError, reader.open->path(),
                     " ends early, at ", reader.done_bytes + int64_t(got));
  }
  reader.crc32c = ExtendCrc32c(reader.crc32c, piece);
  reader.done_bytes += static_cast<int64_t>(got);
  if (reader.done_bytes < file.bytes) return false;
  if (reader.crc32c != file.crc32c) {
    return MakeError(ErrorCode::kStorageError, reader.open->path(),
                     " does not have the checksum that its manifest says");
  }
  reader.open.reset();
  return ++reader.file == files.size();
}

absl::Status ViewCheckpoints::OpenReader(const Checkpoint& checkpoint,
                                         Reader& reader) {
  ASSIGN_OR_RETURN(reader.kv, deps_.open(PathOf(checkpoint.number) + kStore));
  ASSIGN_OR_RETURN(const auto views, MarksOf(*reader.kv));
  if (views != checkpoint.manifest.views) {
    return MakeError(ErrorCode::kStorageError,
                     "its views are not as far as its manifest says");
  }
  return absl::OkStatus();
}

void ViewCheckpoints::Serve(Reader& reader, Request request) {
  Piece piece{{}, true};
  size_t bytes = 0;
  const absl::Status read = reader.kv->Scan(
      request.from, request.end,
      [&](std::string_view key, std::string_view value) {
        piece.last = bytes < kPieceBytes;
        if (!piece.last) return false;
        bytes += key.size() + value.size();
        piece.keys.emplace_back(key, value);
        return true;
      });
  if (read.ok()) return Answer(std::move(request), std::move(piece));
  const uint64_t number = request.number;
  reader.waiting.push_back(std::move(request));
  SetAside(number, read);
}

void ViewCheckpoints::Answer(Request request, absl::StatusOr<Piece> answer) {
  request.executor->Post([done = std::move(request.done),
                          answer = std::move(answer)]() mutable {
    done(std::move(answer));
  });
}

void ViewCheckpoints::CloseIdle(uint64_t number) {
  const auto found = readers_.find(number);
  if (found == readers_.end()) return;
  if (!std::exchange(found->second.touched, false)) {
    readers_.erase(found);
    return;
  }
  deps_.io_executor->PostAfter(kReaderIdleUs, [this, alive = alive_, number] {
    if (*alive) CloseIdle(number);
  });
}

// ---- Damage ----

void ViewCheckpoints::SetAside(uint64_t number, const absl::Status& why) {
  LOG(ERROR) << "checkpoint " << PathOf(number)
             << " of offsets' views cannot be used: " << why
             << ". It is set aside; an older one or the log is taken, nothing "
                "is lost.";
  List left = *Now();
  std::erase_if(left, [&](const auto& c) { return c.number == number; });
  Publish(std::move(left));
  const auto found = readers_.find(number);
  if (found != readers_.end()) {
    std::vector<Request> waiting = std::move(found->second.waiting);
    readers_.erase(found);  // closes it
    for (Request& request : waiting) Answer(std::move(request), why);
  }
  MoveAside(number);
}

void ViewCheckpoints::MoveAside(uint64_t number) {
  const std::string aside = deps_.path + "/damaged";
  absl::Status moved = RemoveIfThere(*deps_.fs, aside);
  if (moved.ok()) moved = deps_.fs->Rename(PathOf(number), aside);
  LOG_IF(ERROR, !moved.ok())
      << "checkpoint " << PathOf(number) << " cannot be moved to " << aside
      << ": " << moved << "; the next start looks at it again";
}

}  // namespace sluice::coordinator

#include "common/env/mem_file_system_disk.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "common/base/error.h"
#include "common/base/str_cat.h"

namespace sluice {
namespace {

void WriteInto(std::string& content, int64_t offset, std::string_view bytes) {
  const auto end = static_cast<size_t>(offset) + bytes.size();
  if (content.size() < end) content.resize(end, '\0');
  content.replace(static_cast<size_t>(offset), bytes.size(), bytes);
}

void Apply(std::string& content, const MemInode::Change& change) {
  if (change.truncates) {
    content.resize(static_cast<size_t>(change.offset), '\0');
  } else {
    WriteInto(content, change.offset, change.bytes);
  }
}

// Calls `keep(offset, bytes)` for each sector-aligned part of a write.
template <class Visit>
void ForEachSector(const MemInode::Change& change, Visit visit) {
  int64_t at = change.offset;
  std::string_view rest = change.bytes;
  while (!rest.empty()) {
    const int64_t to_boundary = kMemSectorBytes - at % kMemSectorBytes;
    const std::string_view part =
        rest.substr(0, static_cast<size_t>(to_boundary));
    visit(at, part);
    at += static_cast<int64_t>(part.size());
    rest.remove_prefix(part.size());
  }
}

// Everything at and below `path`.
std::pair<MemEntries::iterator, MemEntries::iterator> SubTree(
    MemEntries& entries, const std::string& path) {
  return {entries.lower_bound(path + "/"), entries.lower_bound(path + "0")};
}

void Apply(MemEntries& entries, const MemEntryChange& change) {
  MemEntries moved;
  if (!change.erased.empty()) {
    const auto [first, last] = SubTree(entries, change.erased);
    for (auto it = first; it != last; ++it) {
      if (change.set.empty()) continue;
      moved[change.set + it->first.substr(change.erased.size())] = it->second;
    }
    entries.erase(first, last);
    entries.erase(change.erased);
  }
  if (!change.set.empty()) {
    entries[change.set] = *change.node;
    entries.merge(moved);
  }
}

// Entries whose directory did not survive did not either.
void DropOrphans(MemEntries& entries) {
  for (auto it = entries.begin(); it != entries.end();) {
    const std::string parent = MemParentOf(it->first);
    if (it->first != "/" && !entries.contains(parent)) {
      it = entries.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace

std::string MemParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

void MemInode::Write(int64_t offset, std::string_view bytes,
                     int64_t disk_offset, int64_t made) {
  WriteInto(content, offset, bytes);
  unsynced.push_back({false, disk_offset, std::string(bytes), made});
  const size_t end = static_cast<size_t>(offset) + bytes.size();
  Forget(offset, static_cast<int64_t>(end));
  if (written_end.has_value()) written_end = std::max(*written_end, end);
  if (disk_offset == offset) return;
  if (disk_offset < static_cast<int64_t>(content.size())) {
    Harmed(disk_offset,
           content.substr(static_cast<size_t>(disk_offset), bytes.size()));
  }
  Harmed(offset, std::string(bytes));
}

void MemInode::Harmed(int64_t offset, std::string bytes) {
  harms.push_back({offset, std::move(bytes)});
}

void MemInode::Forget(int64_t begin, int64_t end) {
  std::erase_if(harms, [&](const Harm& harm) {
    return harm.offset < end && begin < harm.end();
  });
}

void MemInode::Flip(size_t byte, char mask) {
  const auto at = static_cast<int64_t>(byte);
  const bool was_harmed =
      std::any_of(harms.begin(), harms.end(), [&](const Harm& harm) {
        return harm.offset <= at && at < harm.end();
      });
  if (!was_harmed) Harmed(at, std::string(1, content[byte]));
  content[byte] ^= mask;
  if (byte < durable.size()) durable[byte] ^= mask;
  if (cached.has_value() && byte < cached->size()) (*cached)[byte] ^= mask;
}

void MemInode::DropCache() {
  cached.reset();
  if (!harms.empty() && durable.size() > content.size()) {
    written_end = std::min(written_end.value_or(content.size()),
                           content.size());
  }
  content = durable;
  // What never got to the disk is torn or lost, not harmed; what is on the disk
  // as it was written is well.
  std::erase_if(harms, [this](const Harm& harm) {
    const auto at = static_cast<size_t>(harm.offset);
    return at >= content.size() ||
           content.compare(at, harm.bytes.size(), harm.bytes) == 0;
  });
}

std::string MemInode::Written() const {
  std::string written = content;
  // The newest first: an older one knows better what was there before it.
  for (auto harm = harms.rbegin(); harm != harms.rend(); ++harm) {
    const auto at = static_cast<size_t>(harm->offset);
    if (at >= written.size()) continue;
    const size_t size = std::min(harm->bytes.size(), written.size() - at);
    written.replace(at, size, harm->bytes, 0, size);
  }
  if (written_end.has_value() && *written_end < written.size()) {
    written.resize(*written_end);
  }
  return written;
}

void MemInode::Truncate(int64_t size, int64_t made) {
  content.resize(static_cast<size_t>(size), '\0');
  unsynced.push_back({true, size, "", made});
  if (written_end.has_value()) {
    written_end = std::min(*written_end, static_cast<size_t>(size));
  }
  Forget(size, INT64_MAX);
}

void MemInode::Sync(size_t count) {
  const auto end = unsynced.begin() + static_cast<std::ptrdiff_t>(count);
  for (auto it = unsynced.begin(); it != end; ++it) PutOnDisk(*it);
  unsynced.erase(unsynced.begin(), end);
}

void MemInode::PutOnDisk(const Change& change) {
  if (!cached.has_value()) return Apply(durable, change);
  if (change.truncates) {
    Apply(*cached, change);
    return Apply(durable, change);
  }
  ForEachSector(change, [&](int64_t at, std::string_view part) {
    PutOnDisk(at, part);
  });
}

void MemInode::PutOnDisk(int64_t at, std::string_view part) {
  if (!cached.has_value()) return WriteInto(durable, at, part);
  WriteInto(*cached, at, part);
  const int64_t sector = at / kMemSectorBytes * kMemSectorBytes;
  WriteInto(durable, sector,
            std::string_view(*cached).substr(static_cast<size_t>(sector),
                                             kMemSectorBytes));
}

void MemInode::Crash(MemSurvival survival, Random* random) {
  if (survival == MemSurvival::kPrefix && !unsynced.empty()) {
    const size_t kept = random->Below(unsynced.size() + 1);
    for (size_t i = 0; i < kept; ++i) PutOnDisk(unsynced[i]);
    if (kept < unsynced.size() && !unsynced[kept].truncates) {
      bool going = true;
      ForEachSector(unsynced[kept], [&](int64_t at, std::string_view part) {
        going = going && !random->OneIn(3);
        if (going) PutOnDisk(at, part);
      });
    }
  } else if (survival == MemSurvival::kAnySectors) {
    // The disk has each sector as the page cache had it at some moment: with
    // the first few of the writes that touched it.
    std::map<int64_t, size_t> writes;
    for (const Change& change : unsynced) {
      ForEachSector(change, [&](int64_t at, std::string_view) {
        ++writes[at / kMemSectorBytes];
      });
    }
    for (auto& [sector, count] : writes) count = random->Below(count + 1);
    for (const Change& change : unsynced) {
      if (change.truncates) {
        if (random->OneIn(2)) PutOnDisk(change);
        continue;
      }
      ForEachSector(change, [&](int64_t at, std::string_view part) {
        size_t& left = writes[at / kMemSectorBytes];
        if (left == 0) return;
        --left;
        PutOnDisk(at, part);
      });
    }
  }
  unsynced.clear();
  DropCache();
}

bool MemEntryChange::IsIn(const std::string& directory) const {
  return (!set.empty() && MemParentOf(set) == directory) ||
         (!erased.empty() && MemParentOf(erased) == directory);
}

void MemDisk::Change(MemEntryChange change) {
  change.made = change_count;
  Apply(entries, change);
  unsynced_entries.push_back(std::move(change));
}

void MemDisk::SyncEntries(const std::string& directory) {
  std::vector<MemEntryChange> rest;
  std::vector<MemEntryChange> here;
  for (MemEntryChange& change : unsynced_entries) {
    // A directory that had this name before must not take the entries of its
    // successor along when its removal is synced at last.
    const bool ended_here =
        !change.erased.empty() &&
        (directory + "/").starts_with(change.erased + "/");
    (change.IsIn(directory) || ended_here ? here : rest)
        .push_back(std::move(change));
  }
  const size_t covered = Covered(here);
  for (size_t i = 0; i < covered; ++i) Apply(durable_entries, here[i]);
  here.erase(here.begin(), here.begin() + static_cast<std::ptrdiff_t>(covered));
  unsynced_entries.clear();
  std::merge(rest.begin(), rest.end(), here.begin(), here.end(),
             std::back_inserter(unsynced_entries),
             [](const MemEntryChange& a, const MemEntryChange& b) {
               return a.made < b.made;
             });
}

void MemDisk::SyncEverything() {
  const size_t covered = Covered(unsynced_entries);
  const auto end =
      unsynced_entries.begin() + static_cast<std::ptrdiff_t>(covered);
  for (auto it = unsynced_entries.begin(); it != end; ++it) {
    Apply(durable_entries, *it);
  }
  unsynced_entries.erase(unsynced_entries.begin(), end);
  for (auto& [path, node] : entries) {
    if (node.inode != nullptr) SyncFile(*node.inode);
  }
}

void MemDisk::DropAllDirty() {
  for (auto& [path, node] : entries) {
    if (node.inode != nullptr) node.inode->DropDirty();
  }
}

void MemDisk::End(MemSurvival survival, Random* random) {
  std::map<std::string, size_t> changes;  // of each directory
  for (const MemEntryChange& change : unsynced_entries) {
    ++changes[MemParentOf(change.main_path())];
  }
  std::map<std::string, size_t> kept;
  for (const auto& [directory, count] : changes) {
    kept[directory] =
        survival == MemSurvival::kNothing ? 0 : random->Below(count + 1);
  }
  for (const MemEntryChange& change : unsynced_entries) {
    size_t& left = kept[MemParentOf(change.main_path())];
    if (left == 0) continue;
    --left;
    Apply(durable_entries, change);
  }
  unsynced_entries.clear();
  DropOrphans(durable_entries);
  entries = durable_entries;
  for (auto& [path, node] : entries) {
    if (node.inode != nullptr) node.inode->Crash(survival, random);
  }
  EndKeepingAll();
}

void MemDisk::EndKeepingAll() {
  ++era;
  locks.clear();
  std::erase_if(faults, [](const Fault& fault) { return fault.id == 0; });
  long_sync.reset();
  changes_left.reset();
  stopped = false;
}

int64_t MemDisk::Bytes() const {
  int64_t total = 0;
  for (const auto& [path, node] : entries) {
    if (node.inode != nullptr) {
      total += static_cast<int64_t>(node.inode->content.size());
    }
  }
  return total;
}

int64_t MemDisk::PlaceOf(const std::string& path, int64_t offset) {
  if (!misdirects_next.has_value() ||
      !path.starts_with(misdirects_next->first) ||
      !path.ends_with(misdirects_next->second)) {
    return offset;
  }
  misdirects_next.reset();
  return offset >= kMemPageBytes ? offset - kMemPageBytes
                                 : offset + kMemPageBytes;
}

const MemInode* MemDisk::FindFile(const std::string& path) const {
  const auto found = entries.find(path);
  return found == entries.end() ? nullptr : found->second.inode.get();
}

absl::Status MemDisk::Check(MemFileSystem::Operation operation,
                            const std::string& path) {
  if (stopped) {
    return MakeError(ErrorCode::kStorageError, "stopped before ", path);
  }
  for (Fault& fault : faults) {
    if (fault.count == 0 || fault.operation != operation ||
        path.find(fault.part) == std::string::npos) {
      continue;
    }
    if (fault.count != MemFileSystem::kForEver) --fault.count;
    if (fault.full) {
      return MakeError(ErrorCode::kStorageFull, "ordered ENOSPC at ", path);
    }
    return MakeError(ErrorCode::kStorageError, "ordered EIO at ", path);
  }
  return absl::OkStatus();
}

absl::Status MemDisk::BeginChange(const std::string& path) {
  if (!stopped && changes_left.has_value()) {
    if (*changes_left == 0) stopped = true;
    --*changes_left;
  }
  if (stopped) {
    return MakeError(ErrorCode::kStorageError, "stopped before ", path);
  }
  ++change_count;
  return absl::OkStatus();
}

}  // namespace sluice

// dump_views DIRECTORY: what a store of offsets' views holds, one line a view:
// topic id, partition, applied offset, its epoch, offsets in it, and a checksum
// of all its keys and values. The broker is stopped.
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>

#include "broker/coordinator/view_prefix.h"
#include "broker/offsets/committed_offset.h"
#include "common/base/crc32c.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

struct View {
  std::optional<offsets::Applied> applied;
  int64_t offsets = 0;
  uint32_t crc32c = 0;
};

int Dump(const std::string& path) {
  const auto store = RocksKvStore::OpenCheckpoint(path);
  if (!store.ok()) {
    std::cerr << store.status() << "\n";
    return 1;
  }
  std::map<TopicPartition, View> views;
  const absl::Status read = (*store)->Scan(
      "", "", [&](std::string_view key, std::string_view value) {
        const auto tp = coordinator::ViewOfKey(key);
        if (!tp.has_value()) return true;
        View& view = views[*tp];
        const std::string_view rest =
            key.substr(coordinator::ViewPrefixOf(*tp).size());
        if (rest == offsets::AppliedKey()) {
          view.applied = offsets::DecodeApplied(value);
        }
        view.offsets += offsets::DecodeOffsetKey(rest).has_value();
        view.crc32c = ExtendCrc32c(view.crc32c, key);
        view.crc32c = ExtendCrc32c(view.crc32c, value);
        return true;
      });
  if (!read.ok()) {
    std::cerr << read << "\n";
    return 1;
  }
  for (const auto& [tp, view] : views) {
    if (!view.applied.has_value()) {
      std::cerr << tp.ToString() << " has keys and no mark\n";
      return 1;
    }
    std::cout << tp.topic_id.ToString() << " " << tp.partition.value() << " "
              << view.applied->next.value() << " "
              << view.applied->epoch.value() << " " << view.offsets << " "
              << view.crc32c << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: dump_views DIRECTORY\n";
    return 2;
  }
  return sluice::Dump(argv[1]);
}

#include "storage/kv_store.h"

namespace sluice {

void KvBatch::Put(std::string_view key, std::string_view value) {
  ops_.push_back({Kind::kPut, std::string(key), std::string(value)});
}

void KvBatch::Delete(std::string_view key) {
  ops_.push_back({Kind::kDelete, std::string(key), std::string()});
}

void KvBatch::DeleteRange(std::string_view from, std::string_view end) {
  ops_.push_back({Kind::kDeleteRange, std::string(from), std::string(end)});
}

}  // namespace sluice

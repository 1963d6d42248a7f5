// CRC-32C (Castagnoli), as in Kafka's RecordBatch v2 and our side files.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// Crc32c("123456789") == 0xe3069283.
uint32_t Crc32c(std::string_view bytes);
// Goes on from an earlier result: Extend(Crc32c(a), b) == Crc32c(a + b).
uint32_t ExtendCrc32c(uint32_t crc, std::string_view bytes);

}  // namespace sluice

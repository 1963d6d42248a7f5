// What a server process asks of its operating system at the start.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"

namespace sluice {

// Of this boot of the kernel: when it is the same at the next start, the page
// cache has lived on. STORAGE_ERROR when it cannot be read.
absl::StatusOr<std::string> ReadBootId();

// From the kernel, never twice the same.
uint64_t RandomSeed();

// 16 bytes from the kernel, which nobody can guess.
std::string NewSecret();

// As many descriptors as the hard limit allows: each partition and connection
// has one. Returns the limit that holds now.
int64_t RaiseOpenFilesLimit();

// OK when somebody could listen there now. INVALID_CONFIG names the flag, the
// address and the reason, e.g. that another process has it. Asked before
// anything on disk is touched; the listener itself still may fail.
absl::Status CheckCanListen(const char* flag, const api::Endpoint& endpoint);

}  // namespace sluice

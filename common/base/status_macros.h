// Early returns for absl::Status and absl::StatusOr.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                      \
  do {                                                   \
    if (::absl::Status sluice_status_ = (expression);    \
        !sluice_status_.ok()) {                          \
      return sluice_status_;                             \
    }                                                    \
  } while (false)

#define SLUICE_CONCAT_INNER(a, b) a##b
#define SLUICE_CONCAT(a, b) SLUICE_CONCAT_INNER(a, b)

// ASSIGN_OR_RETURN(auto file, fs.Open(path));
#define ASSIGN_OR_RETURN(lhs, expression) \
  ASSIGN_OR_RETURN_IMPL(SLUICE_CONCAT(sluice_or_, __LINE__), lhs, expression)
#define ASSIGN_OR_RETURN_IMPL(tmp, lhs, expression) \
  auto tmp = (expression);                          \
  if (!tmp.ok()) return tmp.status();               \
  lhs = *std::move(tmp)

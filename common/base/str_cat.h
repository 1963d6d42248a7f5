// absl::StrCat for our own types too. Debian's abseil has a string_view of its
// own that does not come from std::string_view; this is the one bridge.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"

namespace sluice {

inline absl::string_view AbslView(std::string_view text) {
  return absl::string_view(text.data(), text.size());
}
inline std::string_view StdView(absl::string_view text) {
  return std::string_view(text.data(), text.size());
}

namespace internal {

template <class T>
decltype(auto) Piece(const T& value) {
  if constexpr (std::is_convertible_v<T, std::string_view> &&
                !std::is_same_v<T, std::string>) {
    return AbslView(value);
  } else if constexpr (requires { value.ToString(); }) {
    return value.ToString();
  } else if constexpr (requires { typename T::Underlying; }) {
    return value.value();
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? absl::string_view("true") : absl::string_view("false");
  } else {
    return (value);
  }
}

}  // namespace internal

// Text of strings, numbers, strong ids, uuids and anything with ToString().
template <class... Parts>
std::string StrCat(const Parts&... parts) {
  return absl::StrCat(internal::Piece(parts)...);
}

}  // namespace sluice

#include "tools/progress.h"

#include <unistd.h>

#include <cstdio>

namespace sluice::cli {

Progress::Progress(const Clock* clock, std::string what, int64_t total)
    : clock_(clock),
      what_(std::move(what)),
      total_(total),
      shown_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::Update(int64_t done) {
  if (!shown_) return;
  const int64_t now_us = clock_->MonoMicros();
  if (now_us < next_us_) return;
  next_us_ = now_us + 100'000;
  constexpr int kWidth = 30;
  if (total_ <= 0) {
    std::fprintf(stderr, "\r\033[K%s %lld", what_.c_str(),
                 static_cast<long long>(done));
    return;
  }
  const int filled = static_cast<int>(done * kWidth / total_);
  std::fprintf(stderr, "\r\033[K%s [%-*.*s] %lld %%", what_.c_str(), kWidth,
               filled, "##############################",
               static_cast<long long>(done * 100 / total_));
}

}  // namespace sluice::cli

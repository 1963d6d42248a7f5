#include "common/rpc/async/stream_state.h"

#include "common/base/invariant.h"

namespace sluice::rpc {

StreamOp StreamState::Next() {
  if (done_) {
    if (reported_) return StreamOp::kNone;
    reported_ = true;
    return StreamOp::kReportClosed;
  }
  if (!started_ || finishing_) return StreamOp::kNone;
  return options_.is_server ? NextOfServer() : NextOfClient();
}

StreamOp StreamState::NextOfServer() {
  // What the owner says to the last message counts: a half-closed stream ends
  // after it was handled.
  const bool open = !read_ended_ || undelivered_ > 0;
  if (!broken_ && !closing_ && open) return NextTransfer();
  if (writing_) return StreamOp::kNone;
  if (!broken_ && queued_ > 0) return NextTransfer();
  finishing_ = true;
  return StreamOp::kFinish;
}

StreamOp StreamState::NextOfClient() {
  if (closing_ && !cancelled_) {
    cancelled_ = true;
    return StreamOp::kCancel;
  }
  if (!cancelled_ && !read_ended_) return NextTransfer();
  if (reading_ || writing_) return StreamOp::kNone;
  finishing_ = true;
  return StreamOp::kFinish;
}

StreamOp StreamState::NextTransfer() {
  if (queued_ > 0 && !writing_ && !broken_) {
    --queued_;
    writing_ = true;
    return StreamOp::kWrite;
  }
  if (options_.reads && attached_ && !reading_ && !read_ended_ && !closing_ &&
      undelivered_ < options_.undelivered_max) {
    reading_ = true;
    return StreamOp::kRead;
  }
  return StreamOp::kNone;
}

void StreamState::ReadDone(bool ok) {
  INVARIANT(reading_, "a read ended that nobody began");
  reading_ = false;
  if (ok) {
    ++undelivered_;
  } else {
    read_ended_ = true;
  }
}

void StreamState::WriteDone(bool ok) {
  INVARIANT(writing_, "a write ended that nobody began");
  writing_ = false;
  if (!ok) Broken();
}

void StreamState::Broken() {
  broken_ = true;
  queued_ = 0;
}

}  // namespace sluice::rpc

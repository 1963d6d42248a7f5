#include "broker/replica/model_log.h"

#include <algorithm>

#include "common/base/invariant.h"

namespace sluice::replica {

std::vector<ModelRecord> ModelLog::Read(Offset from, int64_t count) const {
  std::vector<ModelRecord> result;
  for (Offset o = from; o < leo(); o = o.Next()) {
    const bool full = static_cast<int64_t>(result.size()) >= count;
    if (full && At(o).begins_batch) break;
    result.push_back(At(o));
  }
  return result;
}

bool ModelLog::BeginsBatchAt(Offset offset) const {
  if (offset < log_start_ || offset >= leo()) return offset == leo();
  return At(offset).begins_batch;
}

std::vector<EpochStart> ModelLog::Append(
    const std::vector<ModelRecord>& records) {
  std::vector<EpochStart> started;
  for (const ModelRecord& record : records) {
    INVARIANT(record.epoch >= epochs_.last_epoch(), "epoch ", record.epoch,
              " follows ", epochs_.last_epoch());
    if (record.epoch > epochs_.last_epoch()) {
      started.push_back({record.epoch, leo()});
      epochs_.Assign(record.epoch, leo());
    }
    records_.push_back(record);
  }
  return started;
}

Offset ModelLog::TruncateTo(Offset target) {
  INVARIANT(!uncut_.has_value() && target >= log_start_, "cut to ", target);
  uncut_ = Uncut{base_, records_, durable_};
  while (leo() > target) {
    while (!records_.back().begins_batch) records_.pop_back();
    records_.pop_back();
  }
  durable_ = std::min(durable_, leo());
  epochs_.TruncateTo(leo());
  return leo();
}

void ModelLog::ResetTo(Offset start) {
  uncut_ = Uncut{base_, records_, durable_};
  base_ = start;
  records_.clear();
  epochs_.Clear();
  log_start_ = start;
  durable_ = start;
}

void ModelLog::SetLogStart(Offset start) {
  log_start_ = start;
  epochs_.TrimTo(start);
}

void ModelLog::SyncTo(Offset leo) {
  durable_ = std::max(durable_, std::min(leo, this->leo()));
}

void ModelLog::SaveMarks(Offset high_watermark) {
  if (uncut_.has_value()) return;
  marks_ = {high_watermark, log_start_, epochs_};
}

void ModelLog::FinishCut(Offset high_watermark) {
  uncut_.reset();
  durable_ = leo();
  SaveMarks(high_watermark);
}

void ModelLog::Crash(int64_t kept, bool cut_done) {
  if (uncut_.has_value() && !cut_done) {
    base_ = uncut_->base;
    records_ = uncut_->records;
    durable_ = uncut_->durable;
  } else if (uncut_.has_value() && base_ != uncut_->base) {
    // Storage notes the new start before it drops everything (ResetTo).
    marks_ = {base_, base_, EpochHistory()};
  }
  uncut_.reset();
  if (kept < 0) return;
  Offset end = durable_;
  for (; kept > 0 && end < leo(); --kept) {
    do {
      end = end.Next();
    } while (end < leo() && !At(end).begins_batch);
  }
  records_.resize(static_cast<size_t>(end - base_));
}

Recovered ModelLog::Recover() {
  durable_ = leo();
  log_start_ = std::clamp(marks_.log_start, base_, leo());
  epochs_ = marks_.epochs;
  // An epoch that begins right at the end has no record yet.
  epochs_.TruncateTo(leo().Next());
  for (Offset o = base_; o < leo(); o = o.Next()) {
    epochs_.Assign(At(o).epoch, o);
  }
  return {log_start_, leo(), marks_.high_watermark, epochs_};
}

}  // namespace sluice::replica

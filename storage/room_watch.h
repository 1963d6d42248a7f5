// Whether a data directory has room, as far as anybody knows: shards note what
// was refused, the directory's own thread looks for room.
#pragma once

#include <atomic>

namespace sluice {

// Any thread.
class RoomWatch {
 public:
  // True: it is the first to say so, somebody has to look from now on.
  bool NoteNone() { return !none_.exchange(true); }
  void NoteSome() { none_.store(false); }
  bool has_room() const { return !none_.load(); }

 private:
  std::atomic<bool> none_{false};
};

}  // namespace sluice

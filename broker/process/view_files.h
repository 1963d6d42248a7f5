// The views of __consumer_offsets on a real disk: RocksDB.
#pragma once

#include "broker/coordinator/view_store.h"
#include "common/env/file_system.h"

namespace sluice {

// All of a view can be had again from its log, so nothing in it is synced and
// RocksDB keeps no log of its own: a process that dies leaves what was flushed,
// whole (GR7). What is damaged is renamed to "<path>.damaged"; the newest is
// kept. `fs` outlives them.
coordinator::ViewStoreFiles MakeViewFiles(FileSystem* fs);

}  // namespace sluice

// What libprotobuf has to say, in our log and at our pace.
#pragma once

#include "common/env/clock.h"

namespace sluice {

// libprotobuf prints a line to stderr for each text of a message that is not
// UTF-8: whoever reaches a port could fill the disk with them. From here on one
// line in kProtobufLineEveryUs is told, with how many were not; the call itself is
// refused as ever. A line that ends the process is always told.
inline constexpr int64_t kProtobufLineEveryUs = 10'000'000;

// `clock` outlives the process's last message.
void TellOfProtobuf(const Clock* clock);

}  // namespace sluice

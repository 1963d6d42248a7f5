// Batches that are too large for their topic, in two.
#pragma once

#include <memory>
#include <utility>

#include "client/record_accumulator.h"

namespace sluice {

using Halves =
    std::pair<std::unique_ptr<PendingBatch>, std::unique_ptr<PendingBatch>>;

// The records of a sealed batch, at least two of them, in order, about half of
// its bytes each; open still, with the callbacks of their records. Numbered as the
// whole was: the sequences of its records stay theirs (IP1).
Halves Split(PendingBatch& whole);

// Puts the one batch of a flight, which was refused for its size, back in its
// place in two halves, and takes the flight off its queue. The queue makes no
// batches larger than that from now on.
void PutBackInHalves(Flight& flight);

}  // namespace sluice

// What holds in every metadata image, however it came to be.
#pragma once

#include "controller/metadata/image.h"

namespace sluice::fuzz {

// Counts, names and indexes agree with what they are of; RP17 as far as replay
// promises it.
void CheckConsistent(const MetadataImage& image);

}  // namespace sluice::fuzz

// `sluice dev start|stop NAME`.
#pragma once

#include "tools/cli_context.h"

namespace sluice::cli {

void AddDevStart(CLI::App* dev, Context* context);
void AddDevStop(CLI::App* dev, Context* context);

}  // namespace sluice::cli

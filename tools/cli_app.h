// The whole command line behind one function: the main gives it gRPC, tests a
// fake cluster.
#pragma once

#include "tools/cli_context.h"

namespace sluice::cli {

// Parses, runs the command chosen, prints data to stdout and talk to stderr;
// returns the exit code (cli_context.h).
int RunCli(int argc, const char* const* argv, ConnectorFactory make_connector,
           GroupConnectorFactory make_groups);

}  // namespace sluice::cli

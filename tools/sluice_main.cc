// The CLI: `sluice`.
#include <csignal>
#include <iostream>

#include "absl/synchronization/mutex.h"
#include "client/grpc_peers/grpc_broker_connector.h"
#include "client/grpc_peers/grpc_group_connector.h"
#include "tools/cli_app.h"

int main(int argc, char** argv) {
  // As sluiced does, and why.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  std::signal(SIGPIPE, SIG_IGN);
  std::ios::sync_with_stdio(false);
  return sluice::cli::RunCli(argc, argv,
                             [] { return sluice::MakeGrpcBrokerConnector(); },
                             [] { return sluice::MakeGrpcGroupConnector(); });
}

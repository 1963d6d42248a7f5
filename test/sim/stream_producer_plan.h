// The program that speaks ProduceStream itself, as it is drawn.
#pragma once

#include <cstdint>

namespace sluice::sim {

struct StreamProducerPlan {
  int in_flight_max = 0;  // requests of a stream; 0: there is no such program
  int64_t send_every_us = 20'000;  // some at once
  int records_max = 1;  // of one partition in a request
  bool forwards = false;  // any broker is asked, and hands on
};

}  // namespace sluice::sim

// The cost of a stack's requests to the service: counters of its layers times a table of prices.
//
//   class     requests                                                    price
//   put       PutObject, CopyObject, multipart uploads, all listings      put-per-1000
//   get       GetObject, HeadObject, and whatever is no other class       get-per-1000
//   free      DeleteObject, DeleteObjects, AbortMultipartUpload           none
//
// Bytes of answers are the transfer. As AWS bills, an answer of 5xx costs nothing, nor does a
// redirect (301, 307); other errors do. A request without an answer may have arrived, and is
// counted.
#pragma once

#include <string>
#include <vector>

#include "tools/cost/prices.hpp"
#include "tools/stacks/stacks.hpp"

namespace nbdstack {

struct Usage {
  double put_requests = 0;
  double get_requests = 0;
  double free_requests = 0;
  double received_bytes = 0;
};

// Adds up the layers of `stack` that run.
Usage usage_of(const std::vector<LayerSnapshot>& layers, const std::string& stack);

Usage operator-(const Usage& later, const Usage& earlier);

struct Cost {
  double put = 0;
  double get = 0;
  double transfer = 0;

  [[nodiscard]] double total() const { return put + get + transfer; }
};

// In dollars.
Cost cost_of(const Usage& usage, const Prices& prices);

// Returns the cost of a month of `stored_bytes`.
double storage_a_month(double stored_bytes, const Prices& prices);

// 365.25 days / 12.
inline constexpr double kSecondsOfMonth = 2629800;

}  // namespace nbdstack

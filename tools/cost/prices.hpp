// The table of prices that requests and transfers are multiplied by: a text of lines key=value.
//
//   key                    meaning                                            default
//   put-per-1000           1,000 requests PUT, COPY, POST or LIST, in dollars 0.005
//   get-per-1000           1,000 requests GET and all others                  0.0004
//   transfer               where the server is: same-region or internet      same-region
//   transfer-per-gb        a GB out of the service, if that is internet       0.09
//   storage-per-gb-month   a GB stored for a month                            0.023
//
// The defaults are AWS's for S3 Standard in us-east-1, of kPricesOf. A GB has 2^30 bytes, as AWS
// bills it. Transfers to the same region are free, and a disk wants to be near its objects: a
// server elsewhere is the exception, and has to be told.
#pragma once

#include <string>
#include <string_view>

namespace nbdstack {

inline constexpr const char* kPricesOf = "2025";

struct Prices {
  double put_per_1000 = 0.005;
  double get_per_1000 = 0.0004;
  double transfer_per_gb = 0.09;
  bool is_transfer_billed = false;
  double storage_per_gb_month = 0.023;
};

// Reads a table; lines that are empty or begin with '#' are skipped, and a key that is not in it
// has its default. Throws Error(EINVAL) that names `path` and the line.
Prices parse_prices(std::string_view text, const std::string& path);

// Reads the file. Throws Error if it cannot be read, or as parse_prices() does.
Prices read_prices(const std::string& path);

}  // namespace nbdstack

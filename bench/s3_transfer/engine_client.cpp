// The work of work.hpp by the plugin's HTTP engine: IN_FLIGHT threads, each with one request at a
// time, as nbdkit's are.
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

#include "bench/s3_transfer/work.hpp"
#include "plugins/s3/http/http_client.hpp"

namespace nbdstack::bench {
namespace {

// Returns false if an answer was not the expected one.
bool serve(HttpClient& client, Work& work) {
  std::vector<std::byte> body(work.body_bytes());
  Request next;
  while (work.next(next)) {
    HttpRequest request{.method = work.is_put() ? "PUT" : "GET", .url = next.url};
    if (work.is_put()) {
      request.body = body;
    } else {
      request.buffer_status = work.expected_status();
      request.buffer = body;
    }
    if (!next.range.empty()) request.headers.emplace_back("range", next.range);
    const HttpOutcome outcome = client.perform(request, std::chrono::seconds(60));
    const auto* const response = std::get_if<HttpResponse>(&outcome);
    if (response == nullptr || !work.is_expected(response->status) ||
        (!work.is_put() && response->buffered_bytes != body.size())) {
      std::fprintf(stderr, "%s: not the expected answer\n", next.url.c_str());
      return false;
    }
  }
  return true;
}

bool run(Work& work) {
  HttpClient client({.connections = work.in_flight()});
  std::atomic<bool> good{true};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < work.in_flight(); ++i) {
    threads.emplace_back([&] {
      if (!serve(client, work)) good = false;
    });
  }
  for (std::thread& each : threads) each.join();
  return good;
}

}  // namespace
}  // namespace nbdstack::bench

int main(int count, char** words) {
  try {
    nbdstack::bench::Work work(count, words);
    return nbdstack::bench::run(work) ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

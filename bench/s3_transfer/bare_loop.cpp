// The work of work.hpp by nothing but libcurl: one thread, IN_FLIGHT handles, curl_multi_perform
// and curl_multi_poll, bodies copied to a buffer. What any client over libcurl can hope for.
#include <curl/curl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include "bench/s3_transfer/work.hpp"

namespace nbdstack::bench {
namespace {

struct Slot {
  CURL* handle = nullptr;
  std::vector<char> body;
  std::size_t received = 0;
  Request request;
};

std::size_t on_body(const char* data, std::size_t size, std::size_t count, void* context) {
  auto& slot = *static_cast<Slot*>(context);
  const std::size_t length = size * count;
  const std::size_t room = slot.body.size() - slot.received;
  std::memcpy(slot.body.data() + slot.received, data, std::min(length, room));
  slot.received += std::min(length, room);
  return length;
}

std::size_t on_answer(const char* /*data*/, std::size_t size, std::size_t count, void* /*unused*/) {
  return size * count;
}

void prepare(Slot& slot, const Work& work, curl_slist* headers) {
  slot.handle = curl_easy_init();
  slot.body.resize(work.body_bytes());
  curl_easy_setopt(slot.handle, CURLOPT_PRIVATE, &slot);
  curl_easy_setopt(slot.handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(slot.handle, CURLOPT_BUFFERSIZE, 256L << 10U);
  curl_easy_setopt(slot.handle, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10U);
  curl_easy_setopt(slot.handle, CURLOPT_HTTPHEADER, headers);
  if (work.is_put()) {
    curl_easy_setopt(slot.handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(slot.body.size()));
    curl_easy_setopt(slot.handle, CURLOPT_POSTFIELDS, slot.body.data());
    curl_easy_setopt(slot.handle, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(slot.handle, CURLOPT_WRITEFUNCTION, on_answer);
  } else {
    curl_easy_setopt(slot.handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(slot.handle, CURLOPT_WRITEDATA, &slot);
  }
}

bool begin(CURLM* multi, Slot& slot, Work& work) {
  if (!work.next(slot.request)) return false;
  slot.received = 0;
  curl_easy_setopt(slot.handle, CURLOPT_URL, slot.request.url.c_str());
  if (!slot.request.range.empty()) {
    const std::string bytes = slot.request.range.substr(slot.request.range.find('=') + 1);
    curl_easy_setopt(slot.handle, CURLOPT_RANGE, bytes.c_str());
  }
  curl_multi_add_handle(multi, slot.handle);
  return true;
}

bool is_good(const Slot& slot, const CURLMsg& message, const Work& work) {
  long status = 0;
  curl_easy_getinfo(slot.handle, CURLINFO_RESPONSE_CODE, &status);
  const bool good = message.data.result == CURLE_OK && work.is_expected(status) &&
                    (work.is_put() || slot.received == slot.body.size());
  if (!good) std::fprintf(stderr, "%s: not the expected answer\n", slot.request.url.c_str());
  return good;
}

bool run(Work& work) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURLM* const multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(work.in_flight()));
  curl_slist* const headers =
      curl_slist_append(curl_slist_append(nullptr, "Expect:"), "Content-Type:");
  std::vector<Slot> slots(work.in_flight());
  unsigned running = 0;
  for (Slot& slot : slots) {
    prepare(slot, work, headers);
    if (begin(multi, slot, work)) ++running;
  }
  bool good = true;
  while (running > 0) {
    int still = 0;
    curl_multi_perform(multi, &still);
    int left = 0;
    while (const CURLMsg* const message = curl_multi_info_read(multi, &left)) {
      const CURLMsg done = *message;
      Slot* slot = nullptr;
      curl_easy_getinfo(done.easy_handle, CURLINFO_PRIVATE, &slot);
      good = is_good(*slot, done, work) && good;
      curl_multi_remove_handle(multi, done.easy_handle);
      if (!begin(multi, *slot, work)) --running;
    }
    if (running > 0) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  for (const Slot& slot : slots) curl_easy_cleanup(slot.handle);
  curl_multi_cleanup(multi);
  curl_slist_free_all(headers);
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

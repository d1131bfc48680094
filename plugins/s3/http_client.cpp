#include "plugins/s3/http_client.hpp"

#include <curl/curl.h>
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "common/error.hpp"
#include "plugins/s3/http_engine.hpp"

namespace nbdstack {
namespace {

void initialise_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    throw Error(EIO, fmt::format("libcurl does not start: {}", curl_easy_strerror(code)));
  }
}

}  // namespace

HttpClient::HttpClient(HttpClientConfig config) : config_(std::move(config)) {
  initialise_libcurl();
}

HttpClient::~HttpClient() = default;

HttpOutcome HttpClient::perform(const HttpRequest& request, Duration time_limit) {
  std::call_once(engine_made_, [this] { engine_ = std::make_unique<HttpEngine>(config_); });
  return engine_->perform(request, time_limit);
}

std::optional<WallTime> parse_http_date(const std::string& text) {
  const std::time_t seconds = curl_getdate(text.c_str(), nullptr);
  if (seconds == -1) return std::nullopt;
  return std::chrono::system_clock::from_time_t(seconds);
}

std::optional<std::string> HttpResponse::header(std::string_view lower_case_name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& header) {
    return header.first == lower_case_name;
  });
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

}  // namespace nbdstack

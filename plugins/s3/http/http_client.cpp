#include "plugins/s3/http/http_client.hpp"

#include <curl/curl.h>
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "common/error.hpp"
#include "common/wall_time.hpp"
#include "plugins/s3/http/http_engine.hpp"

namespace nbdstack {
namespace {

void initialise_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    throw Error(EIO, fmt::format("libcurl does not start: {}", curl_easy_strerror(code)));
  }
}

std::unique_ptr<HttpEngine> make_engine(const HttpClientConfig& config) {
  initialise_libcurl();
  return std::make_unique<HttpEngine>(config);
}

}  // namespace

HttpClient::HttpClient(const HttpClientConfig& config) : engine_(make_engine(config)) {}

HttpClient::~HttpClient() = default;

HttpOutcome HttpClient::perform(const HttpRequest& request, Duration time_limit) {
  return engine_->perform(request, time_limit);
}

std::optional<WallTime> parse_http_date(const std::string& text) {
  const std::time_t seconds = curl_getdate(text.c_str(), nullptr);
  if (seconds == -1) return std::nullopt;
  return wall_time_of(seconds);
}

std::optional<std::string> HttpResponse::header(std::string_view lower_case_name) const {
  const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& header) {
    return header.first == lower_case_name;
  });
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

}  // namespace nbdstack

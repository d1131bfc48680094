#include "plugins/s3/http_store.hpp"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <random>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/error.hpp"
#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "common/log.hpp"
#include "plugins/s3/s3_answer.hpp"
#include "plugins/s3/s3_xml.hpp"
#include "plugins/s3/signing.hpp"

namespace nbdstack {

using std::chrono::milliseconds;
using std::chrono::seconds;

// One operation's request. It is signed and sent as often as there are attempts.
struct HttpStore::Call {
  std::string method;
  std::string key;  // empty: the bucket itself
  QueryList query{};
  HeaderList headers{};
  std::span<const std::byte> body{};
  std::string payload_sha256 = to_hex(sha256({}));

  int buffer_status = 0;  // these three as in HttpRequest
  std::span<std::byte> buffer{};
  std::size_t text_limit = std::size_t{64} << 10U;
  bool fresh_connection = false;

  LastMinute::Operation operation{};  // set when the call begins
  std::int64_t clock_offset_s = 0;    // that the last attempt was signed with
  // An attempt failed in a way that leaves open whether the service did what it was asked.
  bool in_doubt = false;
};

namespace {

constexpr std::size_t kKeysPerRemoval = 1000;        // S3's limit
constexpr unsigned kKeysPerPage = 1000;              // S3's limit
constexpr std::size_t kXmlLimitBytes = 16UL << 20U;  // 1,000 keys of 1,024 bytes, encoded: 4 MiB
constexpr unsigned kRetriesAtStart = 2;
constexpr seconds kGraceAtStop{20};  // enough for some attempts; a server must end
constexpr seconds kSkewNoticed{60};  // S3 tolerates 15 minutes

std::string base64(std::span<const std::byte> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()),
                                     static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

}  // namespace

HttpStore::HttpStore(const HttpStoreConfig& config, Clock& clock)
    : config_(config),
      address_(config.endpoint, config.bucket, config.virtual_host),
      clock_(clock),
      retrier_({.retries = config.retries, .timeout = milliseconds(config.timeout_ms)}, clock,
               std::random_device{}()),
      last_minute_(config.stopping, clock,
                   std::min<Duration>(kGraceAtStop, milliseconds(config.timeout_ms))) {}

HttpClient& HttpStore::client() {
  std::call_once(client_made_, [this] {
    const milliseconds timeout(config_.timeout_ms);
    client_ = std::make_unique<HttpClient>(HttpClientConfig{
        .connections = config_.connections,
        .connect_timeout = std::min(timeout, milliseconds(10'000)),
        .stall_timeout = std::max(std::chrono::floor<seconds>(timeout / 4), seconds(1)),
        .ca_file = config_.ca_file,
        .tls_verify = config_.tls_verify});
  });
  return *client_;
}

void HttpStore::run(Call& call, const Judge& judge, Retrier& retrier) {
  const std::string operation = fmt::format("{} s3://{}/{}", call.method, config_.bucket, call.key);
  call.operation = last_minute_.begin(call.method != "GET");
  retrier.run(
      operation, [&](const Attempt& number) { return attempt(call, judge, number.time_left); },
      [&] { return last_minute_.is_over_for(call.operation); });
}

std::optional<Failure> HttpStore::attempt(Call& call, const Judge& judge, Duration time_left) {
  const HttpOutcome outcome = send(call, time_left);
  if (const auto* failure = std::get_if<TransportFailure>(&outcome)) {
    call.in_doubt = true;
    return failure_of(*failure);
  }
  const auto& response = std::get<HttpResponse>(outcome);
  if (response.status >= 500 || response.status == 408) call.in_doubt = true;
  if (learn_clock(call, response)) {
    Failure failure = unexpected(response);
    failure.may_pass = true;
    return failure;
  }
  return judge(response);
}

HttpOutcome HttpStore::send(Call& call, Duration time_left) {
  SignableRequest signable{.method = call.method,
                           .path = address_.path_of(call.key),
                           .query = call.query,
                           .headers = call.headers,
                           .payload_sha256 = call.payload_sha256};
  signable.headers.emplace_back("host", address_.host_header());
  HttpRequest request{.method = call.method,
                      .url = address_.origin() + encode_path(signable.path),
                      .body = call.body,
                      .buffer_status = call.buffer_status,
                      .buffer = call.buffer,
                      .text_limit = call.text_limit,
                      .is_over = [&] { return last_minute_.is_over_for(call.operation); },
                      .fresh_connection = call.fresh_connection};
  if (!call.query.empty()) request.url += "?" + encode_query(call.query);
  call.clock_offset_s = clock_offset_s_;
  const WallTime now = std::chrono::system_clock::now() + seconds(call.clock_offset_s);
  request.headers =
      signed_headers(std::move(signable), config_.credentials, {.region = config_.region}, now);
  return client().perform(request, time_left);
}

// True when the service's clock is not where this attempt took it to be: the next one may pass.
bool HttpStore::learn_clock(const Call& call, const HttpResponse& response) {
  if (parse_service_error(response.text).code != "RequestTimeTooSkewed") return false;
  const auto date = parse_http_date(response.header("date").value_or(""));
  if (!date) return false;
  const auto offset = std::chrono::duration_cast<seconds>(*date - std::chrono::system_clock::now());
  if (std::chrono::abs(offset - seconds(call.clock_offset_s)) < kSkewNoticed) return false;
  // Many requests may learn it at once; one says so.
  if (clock_offset_s_.exchange(offset.count()) == call.clock_offset_s) {
    log::error(
        "the S3 service's clock is {} s ahead of this machine's: requests are signed with "
        "its time",
        offset.count());
  }
  return true;
}

void HttpStore::check_bucket(const std::string& prefix) {
  Retrier brief({.retries = std::min(config_.retries, kRetriesAtStart),
                 .timeout = milliseconds(config_.timeout_ms)},
                clock_, std::random_device{}());
  Call call = list_call(prefix, 1);
  fetch_page(call, brief);
}

bool HttpStore::get(const std::string& key, std::span<std::byte> body) {
  Call call{.method = "GET", .key = key, .buffer_status = 200, .buffer = body};
  bool found = true;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    found = !is_missing(response);
    return found ? judge_whole(response, body) : std::nullopt;
  });
  return found;
}

bool HttpStore::get_range(const std::string& key, std::span<std::byte> body, std::uint64_t offset) {
  if (body.empty()) return size_of(key).has_value();  // HTTP has no empty range
  const std::string range = fmt::format("{}-{}", offset, offset + body.size() - 1);
  Call call{.method = "GET", .key = key, .buffer_status = 206, .buffer = body};
  call.headers.emplace_back("range", "bytes=" + range);
  bool found = true;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    found = !is_missing(response);
    return found ? judge_part(response, range, body.size()) : std::nullopt;
  });
  return found;
}

std::optional<std::string> HttpStore::get_text(const std::string& key, std::size_t size_limit) {
  Call call{.method = "GET", .key = key};
  call.text_limit = std::max(call.text_limit, size_limit);
  std::optional<std::string> text;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (is_missing(response)) return std::nullopt;
    if (response.status != 200) return unexpected(response);
    if (response.text_cut || response.text.size() > size_limit) {
      return Failure{.reason = fmt::format("the object is longer than {} bytes", size_limit)};
    }
    text = response.text;
    return verify_checksum(response, std::as_bytes(std::span(response.text)));
  });
  return text;
}

std::optional<std::uint64_t> HttpStore::size_of(const std::string& key) {
  std::array<std::byte, 1> first{};
  Call call{.method = "GET", .key = key, .buffer_status = 206, .buffer = first};
  call.headers.emplace_back("range", "bytes=0-0");
  std::optional<std::uint64_t> size;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (is_missing(response)) return std::nullopt;
    if (response.status == 416) {
      size = 0;  // only an empty object has no first byte
      return std::nullopt;
    }
    if (auto failure = judge_part(response, "0-0", first.size())) return failure;
    const std::string range = response.header("content-range").value_or("");
    const char* const begin = range.data() + std::string_view("bytes 0-0/").size();
    std::uint64_t total = 0;
    if (std::from_chars(begin, range.data() + range.size(), total).ec != std::errc()) {
      return Failure{.reason = fmt::format("Content-Range \"{}\" tells no size", range)};
    }
    size = total;
    return std::nullopt;
  });
  return size;
}

HttpStore::Call HttpStore::put_call(const std::string& key, std::span<const std::byte> body) const {
  Call call{.method = "PUT", .key = key, .body = body, .payload_sha256 = to_hex(sha256(body))};
  call.headers = {{"content-md5", base64(md5(body))},
                  {"content-type", "application/octet-stream"},
                  {std::string(kChecksumHeader), to_hex(xxh3_128(body))}};
  return call;
}

PutResult HttpStore::put(const std::string& key, std::span<const std::byte> body, PutMode mode) {
  if (mode == PutMode::create_only) {
    if (!conditions_unknown_) {
      if (const auto result = put_if_absent(key, body)) return *result;
    }
    if (size_of(key)) return PutResult::exists;
  }
  put_unconditionally(key, body);
  return PutResult::stored;
}

void HttpStore::put_unconditionally(const std::string& key, std::span<const std::byte> body) {
  Call call = put_call(key, body);
  run(call, [](const HttpResponse& response) -> std::optional<Failure> {
    if (is_success(response)) return std::nullopt;
    return unexpected(response);
  });
}

// Nothing where the service does not know conditions.
std::optional<PutResult> HttpStore::put_if_absent(const std::string& key,
                                                  std::span<const std::byte> body) {
  Call call = put_call(key, body);
  call.headers.emplace_back("if-none-match", "*");
  // A request that libcurl sends twice by itself would leave doubts that we do not know of.
  call.fresh_connection = true;
  int status = 0;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    status = response.status;
    if (is_success(response) || status == 412 || status == 501) return std::nullopt;
    return unexpected(response);
  });
  if (status == 501) {
    if (!conditions_unknown_.exchange(true)) {
      log::error(
          "the S3 service knows no conditional requests: of two that create s3://{}/{} at "
          "the same moment, both may succeed",
          config_.bucket, key);
    }
    return std::nullopt;
  }
  if (status == 412 && !(call.in_doubt && holds(key, body))) return PutResult::exists;
  return PutResult::stored;
}

bool HttpStore::holds(const std::string& key, std::span<const std::byte> body) {
  if (size_of(key) != body.size()) return false;
  std::vector<std::byte> stored(body.size());
  return get(key, stored) && std::equal(stored.begin(), stored.end(), body.begin());
}

void HttpStore::remove(std::span<const std::string> keys) {
  while (!keys.empty()) {
    const auto batch = keys.first(std::min(keys.size(), kKeysPerRemoval));
    if (batch.size() == 1) {
      remove_one(batch.front());
    } else {
      remove_batch(batch);
    }
    keys = keys.subspan(batch.size());
  }
}

void HttpStore::remove_one(const std::string& key) {
  Call call{.method = "DELETE", .key = key};
  run(call, [](const HttpResponse& response) -> std::optional<Failure> {
    if (is_success(response) || is_missing(response)) return std::nullopt;
    return unexpected(response);
  });
}

void HttpStore::remove_batch(std::span<const std::string> keys) {
  const std::string text = delete_request(keys);
  const auto body = std::as_bytes(std::span(text));
  Call call{.method = "POST",
            .key = "",
            .query = {{"delete", ""}},
            .headers = {{"content-md5", base64(md5(body))}, {"content-type", "application/xml"}},
            .body = body,
            .payload_sha256 = to_hex(sha256(body)),
            .text_limit = kXmlLimitBytes};
  run(call, [](const HttpResponse& response) -> std::optional<Failure> {
    if (response.status != 200) return unexpected(response);
    const auto failures = parse_delete_result(response.text);
    if (!failures) return Failure{.reason = "the service's answer is no DeleteResult"};
    for (const RemovalFailure& each : *failures) {
      if (each.error.code == "NoSuchKey") continue;
      // Removing the whole batch again does no harm.
      Failure failure = failure_of(each.error);
      failure.reason = fmt::format("{} was not removed: {}", each.key, failure.reason);
      return failure;
    }
    return std::nullopt;
  });
}

HttpStore::Call HttpStore::list_call(const std::string& prefix, unsigned keys_max) const {
  return {.method = "GET",
          .key = "",
          .query = {{"list-type", "2"},
                    {"prefix", prefix},
                    {"encoding-type", "url"},
                    {"max-keys", std::to_string(keys_max)}},
          .text_limit = kXmlLimitBytes};
}

ListPage HttpStore::fetch_page(Call& call, Retrier& retrier) {
  ListPage page;
  run(
      call,
      [&](const HttpResponse& response) -> std::optional<Failure> {
        if (response.status != 200) return unexpected(response);
        auto parsed = parse_list_page(response.text);
        if (!parsed) {
          return Failure{.reason = "the answer is no listing (is endpoint-url an S3 service?)"};
        }
        page = std::move(*parsed);
        return std::nullopt;
      },
      retrier);
  return page;
}

void HttpStore::list(const std::string& prefix, const std::string& start_after,
                     const std::function<bool(const ListedObject&)>& visit) {
  Call call = list_call(prefix, kKeysPerPage);
  if (!start_after.empty()) call.query.emplace_back("start-after", start_after);
  const QueryList first_query = call.query;
  std::string last = start_after;
  while (true) {
    const ListPage page = fetch_page(call, retrier_);
    for (const ListedObject& object : page.objects) {
      // What is out of order would be taken for a hole by whoever merges listings.
      if (object.key <= last) {
        throw Error(EIO, fmt::format("the listing of s3://{}/{} is not in order: {} follows {}",
                                     config_.bucket, prefix, object.key, last));
      }
      if (!visit(object)) return;
      last = object.key;
    }
    if (page.next_token.empty()) return;
    call.query = first_query;
    call.query.emplace_back("continuation-token", page.next_token);
  }
}

}  // namespace nbdstack

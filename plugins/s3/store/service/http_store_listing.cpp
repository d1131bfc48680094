// The listings of HttpStore.
//
//   order of the keys  known from                     list_in_order          list
//   not seen           nothing so far                 keeps the first page until the second shows
//                                                     that it continues behind it
//   by bytes           two pages in this order        page by page           page by page
//   its own            three answers in a row in      refuses                collects all, sorts
//                      another order, a refusal to
//                      list a part, lists_unsorted
//
// A service with an order of its own may support neither a key to start after, nor a prefix that
// does not end in '/' (S3 Express): requests to it have neither. The known order lasts as long as
// the store; if it is wrong, that costs only time.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "common/error.hpp"
#include "common/log.hpp"
#include "plugins/s3/store/service/http_store.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"
#include "plugins/s3/store/service/s3_xml.hpp"

namespace nbdstack {
namespace {

constexpr unsigned kKeysPerPage = 1000;  // S3's limit
constexpr unsigned kRetriesAtStart = 2;
constexpr std::size_t kXmlLimitBytes = 16UL << 20U;  // 1,000 keys of 1,024 bytes, encoded: 4 MiB
constexpr int kContradictions_max = 3;  // of a listing: then the service is known to be so

std::string up_to_last_slash(const std::string& prefix) {
  return prefix.substr(0, prefix.rfind('/') + 1);  // npos + 1 is 0
}

using Visit = std::function<bool(const ListedObject&)>;

// Returns false if the visitor wants no more.
bool visit_all(const ListPage& page, const Visit& visit) {
  return std::all_of(page.objects.begin(), page.objects.end(), visit);
}

S3Call list_call(const S3Operation& operation, const std::string& prefix,
                 unsigned keys_max = kKeysPerPage) {
  return {.operation = operation,
          .query = {{"prefix", prefix},
                    {"encoding-type", "url"},
                    {"max-keys", std::to_string(keys_max)}},
          .text_limit = kXmlLimitBytes};
}

// Returns the query for the page after `page`.
QueryList behind(const ListPage& page, QueryList first_query) {
  first_query.emplace_back("continuation-token", page.next_token);
  return first_query;
}

// Returns the parts that the check of listings needs: each version is an entry of its own.
ListPage as_list_page(const VersionPage& versions) {
  ListPage page;
  for (const ListedVersion& each : versions.versions) {
    page.objects.push_back({.key = each.key + '\0' + each.version_id});
  }
  page.truncated = versions.truncated;
  if (!versions.next_key.empty()) page.next_token = versions.next_key + " " + versions.next_version;
  return page;
}

}  // namespace

void HttpStore::check_bucket(const std::string& prefix) {
  Retrier brief({.retries = std::min(config_.retries, kRetriesAtStart),
                 .timeout = std::chrono::milliseconds(config_.timeout_ms)},
                clock_, std::random_device{}());
  S3Call call = list_call(s3_operation::kList, prefix, 1);
  call.retrier = &brief;
  fetch_page(call, nullptr);
}

std::optional<ListPage> HttpStore::fetch_page(S3Call& call, PageCheck* check) {
  std::optional<ListPage> page;
  std::string disorder;
  int faults = 0;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    if (check != nullptr && check->asks_for_part() && calls_request_wrong(response)) {
      disorder = "a part of them cannot be listed: " + unexpected(response).reason;
      return std::nullopt;
    }
    if (response.status != 200) return unexpected(response);
    page = parse_list_page(response.text);
    if (!page) return not_the_document(response, "listing");
    const auto fault = check == nullptr ? std::nullopt : check->fault_of(*page);
    if (!fault.has_value()) return std::nullopt;
    page.reset();
    const bool may_pass = ++faults < kContradictions_max;
    if (fault->is_of_order && !may_pass) {
      disorder = fault->words;
      return std::nullopt;
    }
    return Failure{.may_pass = may_pass,
                   .reason = "the listing cannot be believed: " + fault->words};
  });
  if (!page.has_value()) {
    learn_own_order(disorder);
    return std::nullopt;
  }
  if (check != nullptr) check->accept(*page);
  return page;
}

void HttpStore::learn_own_order(const std::string& words) {
  if (order_.exchange(KnownOrder::its_own) == KnownOrder::its_own) return;
  log::error(
      "{}: {}: the service lists keys in an order of its own, and its listings are sorted "
      "here from now on, which takes one request after the other",
      url_of(""), words);
}

void HttpStore::list(const std::string& prefix, const std::string& start_after,
                     const Visit& visit) {
  if (list_in_order(prefix, start_after, visit)) return;
  std::vector<ListedObject> objects;
  list_as_it_comes(prefix, [&](const ListedObject& object) {
    if (object.key <= start_after) return true;
    if (objects.size() == kSorted_max) {
      throw Error(EIO, fmt::format("{}: more than {} objects would have to be sorted, because the "
                                   "service lists them in an order of its own",
                                   url_of(prefix), kSorted_max));
    }
    objects.push_back(object);
    return true;
  });
  std::sort(objects.begin(), objects.end(),
            [](const ListedObject& a, const ListedObject& b) { return a.key < b.key; });
  const auto twice =
      std::unique(objects.begin(), objects.end(),
                  [](const ListedObject& a, const ListedObject& b) { return a.key == b.key; });
  objects.erase(twice, objects.end());
  for (const ListedObject& object : objects) {
    if (!visit(object)) return;
  }
}

bool HttpStore::list_in_order(const std::string& prefix, const std::string& start_after,
                              const Visit& visit) {
  if (!lists_in_order()) return false;
  S3Call call = list_call(s3_operation::kList, prefix);
  if (!start_after.empty()) call.query.emplace_back("start-after", start_after);
  const QueryList first_query = call.query;
  PageCheck check({.prefix = prefix, .after = start_after}, ListOrder::by_bytes);
  std::optional<ListPage> held;  // the first page
  bool has_visited = false;
  while (true) {
    auto page = fetch_page(call, &check);
    if (!page.has_value() && !has_visited) return false;
    if (!page.has_value()) {
      throw Error(EIO,
                  fmt::format("{}: the keys are listed in order at first, and then in another, "
                              "so that some were left out: it has to begin anew",
                              url_of(prefix)));
    }
    if (page->truncated) call.query = behind(*page, first_query);
    if (page->truncated && !held.has_value() && order_ == KnownOrder::not_seen) {
      held = std::move(page);
      continue;
    }
    has_visited = true;
    if (held.has_value()) {
      auto not_seen = KnownOrder::not_seen;
      order_.compare_exchange_strong(not_seen, KnownOrder::by_bytes);
      if (!visit_all(*std::exchange(held, std::nullopt), visit)) return true;
    }
    if (!visit_all(*page, visit) || !page->truncated) return true;
  }
}

void HttpStore::list_in_any_order(const std::string& prefix, const Visit& visit) {
  if (!list_in_order(prefix, "", visit)) list_as_it_comes(prefix, visit);
}

// Keys that do not begin with `prefix` are skipped here.
void HttpStore::list_as_it_comes(const std::string& prefix, const Visit& visit) {
  const std::string asked = up_to_last_slash(prefix);
  S3Call call = list_call(s3_operation::kList, asked);
  const QueryList first_query = call.query;
  PageCheck check({.prefix = asked, .after = ""}, ListOrder::any);
  while (true) {
    const auto page = fetch_page(call, &check);
    for (const ListedObject& object : page->objects) {
      if (object.key.starts_with(prefix) && !visit(object)) return;
    }
    if (!page->truncated) return;
    call.query = behind(*page, first_query);
  }
}

void HttpStore::list_versions(const std::string& prefix,
                              const std::function<bool(const ListedVersion&)>& visit) {
  const std::string asked = lists_in_order() ? prefix : up_to_last_slash(prefix);
  S3Call call = list_call(s3_operation::kVersions, asked);
  const QueryList first_query = call.query;
  PageCheck check({.prefix = asked, .after = ""}, ListOrder::any);
  while (true) {
    const VersionPage page = fetch_versions(call, check);
    for (const ListedVersion& version : page.versions) {
      if (version.key.starts_with(prefix) && !visit(version)) return;
    }
    if (!page.truncated) return;
    call.query = first_query;
    call.query.emplace_back("key-marker", page.next_key);
    if (!page.next_version.empty()) call.query.emplace_back("version-id-marker", page.next_version);
  }
}

VersionPage HttpStore::fetch_versions(S3Call& call, PageCheck& check) {
  VersionPage page;
  ListPage entries;
  int faults = 0;
  run(call, [&](const HttpResponse& response) -> std::optional<Failure> {
    auto parsed = parse_version_page(response.text);
    if (!parsed.has_value() && parse_list_page(response.text).has_value()) {
      return Failure{.reason = "the service lists objects where their versions were asked for"};
    }
    if (!parsed.has_value()) return not_the_document(response, "ListVersionsResult");
    page = std::move(*parsed);
    entries = as_list_page(page);
    const auto fault = check.fault_of(entries);
    if (!fault.has_value()) return std::nullopt;
    return Failure{.may_pass = ++faults < kContradictions_max,
                   .reason = "the listing cannot be believed: " + fault->words};
  });
  check.accept(entries);
  return page;
}

// With a delimiter the service folds all keys below a directory. A service that does not know
// delimiters shows all of them, and some that do show the directory in each of its pages: both are
// asked to continue behind the directory instead, if they can.
std::vector<std::string> HttpStore::directories_below(const std::string& prefix) {
  S3Call call = list_call(s3_operation::kList, prefix);
  call.query.emplace_back("delimiter", "/");
  const QueryList first_query = call.query;
  PageCheck check({.prefix = prefix, .after = ""}, ListOrder::any);
  std::set<std::string> found;  // with the slash, so that they sort like keys
  unsigned pages_without_news = 0;
  while (true) {
    const auto page = fetch_page(call, &check);
    const std::size_t known = found.size();
    const auto note = [&](const std::string& entry) {
      const std::size_t slash = entry.find('/', prefix.size());
      if (slash == std::string::npos) return false;
      found.insert(entry.substr(prefix.size(), slash + 1 - prefix.size()));
      return true;
    };
    bool is_unfolded = false;
    for (const ListedObject& object : page->objects) is_unfolded |= note(object.key);
    for (const std::string& entry : page->common_prefixes) note(entry);
    if (!page->truncated) break;
    const bool is_news = found.size() > known || page->common_prefixes.empty();
    if ((is_unfolded || !is_news) && lists_in_order()) {
      return ObjectStore::directories_below(prefix);
    }
    pages_without_news = is_news ? 0 : pages_without_news + 1;
    if (pages_without_news == PageCheck::kEmptyPages_max) {
      throw Error(EIO, fmt::format("{}: the listing does not end: {} pages showed no directory but "
                                   "those of pages before",
                                   url_of(prefix), PageCheck::kEmptyPages_max));
    }
    call.query = behind(*page, first_query);
  }
  std::vector<std::string> names;
  names.reserve(found.size());
  for (const std::string& name : found) names.push_back(name.substr(0, name.size() - 1));
  return names;
}

}  // namespace nbdstack

// The requests that the store sends, and how each answer is judged: one row for each operation.
//
//   query      NAME or NAME=VALUE: names an operation on the bucket; empty for one on an object
//   condition  the header for the ETag that the object must have, if the call has one
//   done       the status of success; k2xx is 200 to 299, kAny any status
//   absent     whether "there is no such object" (is_missing()) is a result
//   told       other statuses with a meaning: 412 the condition does not hold, 416 the object is
//              shorter; the others, that the service may not know such requests
//
// Further headers: Range of kGetPart and kGetFirst; the digest and the type of a body; of PUTs the
// object's attributes and checksums, and what service_options.hpp adds; in all requests the user's
// headers, and what signing.hpp adds.
//
// The operation's function (http_store*.cpp) judges `done` and `told`. Every other answer is a
// failure, and retry.hpp decides which of those may pass. A request whose failure may pass, or that
// was not answered, is sent again; a repetition is harmless:
//
//   reads, lists      change nothing
//   put, delete       are the same change again
//   create, replace   may meet their own first attempt, as 412: then the object is read back
//
// All but GET and HEAD are changes: they are sent only while this server may write, and without an
// answer they may still be done later (Doubt).
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace nbdstack {

struct S3Operation {
  static constexpr int kAny = 0;
  static constexpr int k2xx = 2;

  std::string_view name;  // S3's
  std::string_view method;
  std::string_view query;
  std::string_view condition;
  int done;
  bool absent;
  std::array<int, 6> told;

  [[nodiscard]] bool is_change() const { return method != "GET" && method != "HEAD"; }
  [[nodiscard]] bool judges(int status) const {
    return status == done || done == kAny || (done == k2xx && status / 100 == 2) ||
           std::find(told.begin(), told.end(), status) != told.end();
  }
};

namespace s3_operation {

using Row = S3Operation;
constexpr int kAny = Row::kAny;
constexpr int k2xx = Row::k2xx;
constexpr std::array kRefusals{400, 403, 405, 409, 412, 501};

// clang-format off
//                        name                  method    query          condition        done  absent told
constexpr Row kGet       {"GetObject",          "GET",    "",            "",              200,  true,  {}};
constexpr Row kGetVersion{"GetObject",          "GET",    "",            "if-match",      200,  true,  {412}};
constexpr Row kGetPart   {"GetObject",          "GET",    "",            "if-match",      206,  true,  {412,416}};
constexpr Row kGetFirst  {"GetObject",          "GET",    "",            "",              206,  true,  {200,400,416,501}};
constexpr Row kHead      {"HeadObject",         "HEAD",   "",            "",              kAny, true,  {}};
constexpr Row kPut       {"PutObject",          "PUT",    "",            "",              k2xx, false, {}};
constexpr Row kCreate    {"PutObject",          "PUT",    "",            "if-none-match", k2xx, false, kRefusals};
constexpr Row kReplace   {"PutObject",          "PUT",    "",            "if-match",      k2xx, true,  kRefusals};
constexpr Row kDelete    {"DeleteObject",       "DELETE", "",            "if-match",      k2xx, true,  {404,412}};
constexpr Row kDeleteMany{"DeleteObjects",      "POST",   "delete",      "",              200,  false, {400,405,501,504}};
constexpr Row kList      {"ListObjectsV2",      "GET",    "list-type=2", "",              200,  false, {400,501}};
constexpr Row kVersions  {"ListObjectVersions", "GET",    "versions",    "",              200,  false, {}};
constexpr Row kSession   {"CreateSession",      "GET",    "session",     "",              200,  false, {}};
// clang-format on

}  // namespace s3_operation
}  // namespace nbdstack

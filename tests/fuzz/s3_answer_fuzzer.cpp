// HTTP answers of a service: the lines of their head (answer_head.hpp), what they are judged to
// mean (s3_answer.hpp, retry.hpp), and the checksums in them (piece_checksums.hpp).
//
//   the input       is an answer as it comes over the network: head, empty line, body. A checksum
//                   '@' becomes that of the body
//   any answer      is judged without undefined arithmetic, whatever times and lengths it tells
//   believed        as the whole object, or a part: it is as long as was asked for, and contradicts
//                   neither itself nor the question
//   verified        its body is what its checksums say; they are written as they were read
//   damaged         one byte of a body that was stored with checksums, and it is refused
#include <algorithm>

#include "common/hash/digest.hpp"
#include "common/hash/xxh3.hpp"
#include "plugins/s3/http/answer_head.hpp"
#include "plugins/s3/store/service/s3_answer.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

const std::string kRange = "65536-131071";
constexpr std::size_t kPart_bytes = 65536;
constexpr std::uint64_t kObject_bytes = 200'000;

// Takes the head off `input`; what is left is the body.
HttpResponse response_of(std::string_view& input) {
  HttpResponse response;
  while (!input.empty()) {
    const std::string_view line = input.substr(0, input.find('\n') + 1);
    const HeadLine kind = take_head_line(line.empty() ? input : line, response);
    input.remove_prefix(line.empty() ? input.size() : line.size());
    if (kind == HeadLine::end) break;
  }
  return response;
}

void check_fields(const HttpResponse& response) {
  for (const auto& [name, value] : response.headers) {
    must(std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; }),
         "names of fields are in lower case");
    constexpr std::string_view kBlanks = " \t\r\n";
    must(value.empty() || (kBlanks.find(value.front()) == std::string_view::npos &&
                           kBlanks.find(value.back()) == std::string_view::npos),
         "values of fields have no blanks around them");
  }
}

bool is_told_twice(const HttpResponse& response, std::string_view name) {
  const auto first = response.header(name);
  return std::any_of(response.headers.begin(), response.headers.end(),
                     [&](const auto& each) { return each.first == name && each.second != *first; });
}

void check_believed(const HttpResponse& response, std::span<const std::byte> body) {
  if (!judge_whole(response, body)) {
    must(response.status == 200 && response.buffered_bytes == body.size(),
         "a whole object is as long as it has to be");
    must(!response.header("content-range") && !is_told_twice(response, "etag") &&
             !is_told_twice(response, kChecksumHeader),
         "what is believed does not contradict itself");
  }
  if (!judge_part(response, kRange, kPart_bytes, kObject_bytes)) {
    must(response.status == 206 && response.buffered_bytes == kPart_bytes,
         "a part is as long as it has to be");
    must(object_bytes_of(response, kRange) == kObject_bytes,
         "a part is of the object that is meant");
  }
  if (!judge_first_byte(response)) {
    must(object_bytes_from_first(response).has_value(), "a first byte tells the object's length");
  }
  const std::string etag = response.header("etag").value_or("");
  if (etag.empty() || !is_success(response)) return;
  must(!judge_identity(response, etag), "an object is the one of its own ETag");
  must(judge_identity(response, etag + "x").has_value(), "and of no other");
}

void check_verified(const HttpResponse& response, std::span<const std::byte> body) {
  const auto checksums = accepted([&] { return checksums_of(response, body.size()); });
  if (checksums.has_value() && checksums->pieces.has_value()) {
    const auto again = PieceChecksums::parse_text(checksums->pieces->to_text(), body.size());
    must(again == *checksums->pieces, "checksums that are written say the same");
  }
  if (verify_all_checksums(response, body)) return;
  const auto whole = response.header(kChecksumHeader);
  must(!whole || *whole == to_hex(xxh3_128(body)), "a body that is verified has its checksum");
  must(!response.header(kPiecesHeader) || checksums.has_value(),
       "checksums that cannot be read verify nothing");
}

// What nobody believes is put into words.
void judge_all(const HttpResponse& response) {
  is_missing(response);
  info_of(response, kObject_bytes);
  const Failure failure = unexpected(response);
  must(!failure.reason.empty(), "a failure has a reason");
  must(!failure.retry_after || *failure.retry_after >= Duration::zero(),
       "nobody is asked to come back in the past");
  error_in_success(response, response.text);
  not_the_document(response, "ListBucketResult");
  may_refuse_first_byte(response);
  object_bytes_from_first(response);
}

void check_damage(std::span<const std::byte> input, std::uint64_t choice) {
  std::vector<std::byte> body(PieceChecksums::kPiece_bytes_min + 1 + input.size());
  std::copy(input.begin(), input.end(), body.begin());
  const auto pieces = PieceChecksums::of(body);
  const HttpResponse stored{.status = 200,
                            .headers = {{std::string(kPiecesHeader), pieces->to_text()}}};
  must(!verify_checksum(stored, body), "a body that was stored is verified");
  with_damage(body, choice, [&] {
    must(verify_checksum(stored, body).has_value(), "a damaged body is refused");
  });
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  using namespace nbdstack::fuzz;
  const std::string text = text_of({data, size});
  std::string_view rest = text;
  HttpResponse response = response_of(rest);
  check_fields(response);
  // The body as the text that it is where it was not expected, and as what was asked for.
  response.text = rest;
  judge_all(response);
  const std::vector<std::byte> body = bytes_of(rest);
  for (auto& [name, value] : response.headers) {
    if (name == kChecksumHeader && value == "@") value = to_hex(xxh3_128(body));
  }
  check_believed(response, body);
  response.text.clear();
  response.buffered_bytes = body.size();
  check_believed(response, body);
  check_verified(response, body);
  response.buffered_bytes = kPart_bytes;
  check_believed(response, body);
  const auto input = std::as_bytes(std::span(data, size));
  const std::uint64_t choice = xxh3_64(input, 0);
  if (choice % 8 == 0) check_damage(input, choice / 8);
  return 0;
}

#include "plugins/s3/http/answer_head.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

namespace nbdstack {
namespace {

constexpr std::size_t kUsualHeaders = 16;

// Headers are ASCII, and there are many of them: without the locale.
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
}

}  // namespace

HeadLine take_head_line(std::string_view line, HttpResponse& response) {
  if (line.starts_with("HTTP/")) {
    response = HttpResponse{};
    response.headers.reserve(kUsualHeaders);
    const std::size_t blank = line.find(' ');
    if (blank != std::string_view::npos) {
      response.status = std::atoi(std::string(line.substr(blank + 1, 3)).c_str());
    }
    return HeadLine::status;
  }
  if (line == "\r\n" || line == "\n") return HeadLine::end;
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return HeadLine::other;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(), lower);
  response.headers.emplace_back(std::move(name), trimmed(line.substr(colon + 1)));
  return HeadLine::field;
}

}  // namespace nbdstack

#include "common/block/disk_identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "common/block/layer.hpp"
#include "common/parse_number.hpp"

namespace nbdstack {
namespace {

constexpr std::string_view kKind = "nbdstack-disk";
constexpr std::string_view kNoTerms = "none";
constexpr std::size_t kIdLength_max = 128;
constexpr std::array<std::pair<WriteRight, std::string_view>, 4> kRights = {{
    {WriteRight::none, "none"},
    {WriteRight::held, "held"},
    {WriteRight::doubtful, "doubtful"},
    {WriteRight::lost, "lost"},
}};

using Fields = std::map<std::string_view, std::string_view>;

// The words of `text` after the first, which has to be kKind; each is KEY=VALUE and has a key of
// its own.
std::optional<Fields> fields_of(std::string_view text) {
  Fields fields;
  if (!text.starts_with(kKind)) return std::nullopt;
  text.remove_prefix(kKind.size());
  while (!text.empty()) {
    if (text.front() != ' ') return std::nullopt;
    text.remove_prefix(1);
    const std::string_view word = text.substr(0, text.find(' '));
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    if (!fields.emplace(word.substr(0, equals), word.substr(equals + 1)).second) {
      return std::nullopt;
    }
    text.remove_prefix(word.size());
  }
  return fields;
}

bool is_id(std::string_view id) {
  constexpr std::string_view kOthers = "-_.:";
  const auto fits = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOthers.find(c) != std::string_view::npos;
  };
  return !id.empty() && id.size() <= kIdLength_max && std::all_of(id.begin(), id.end(), fits);
}

bool read_right(std::string_view text, WriteRight& right) {
  const auto* const found = std::find_if(kRights.begin(), kRights.end(),
                                         [&](const auto& known) { return known.second == text; });
  if (found == kRights.end()) return false;
  right = found->first;
  return true;
}

bool read_unchanged(std::string_view text, WriterTerm& term) {
  auto& terms = term.unchanged.emplace();
  while (text != kNoTerms && !text.empty()) {
    const std::string_view number = text.substr(0, text.find(','));
    std::uint64_t found = 0;
    if (!parse_number(number, found)) return false;
    const std::uint64_t former = terms.empty() ? term.since : terms.back();
    if (found <= former || found >= term.term) return false;
    terms.push_back(found);
    text.remove_prefix(std::min(text.size(), number.size() + 1));
  }
  return text.empty() ? !terms.empty() : terms.empty();
}

bool read_term(Fields& fields, std::optional<WriterTerm>& term) {
  if (!fields.contains("term")) return !fields.contains("since");
  WriterTerm found;
  if (!parse_number(fields["term"], found.term) || !parse_number(fields["since"], found.since)) {
    return false;
  }
  if (found.since > found.term) return false;
  if (fields.contains("unchanged") && !read_unchanged(fields["unchanged"], found)) return false;
  term = std::move(found);
  return true;
}

}  // namespace

bool WriterTerm::still_true(std::uint64_t then) const {
  if (then == term || then == since) return true;
  if (!unchanged) return since <= then && then < term;
  return std::binary_search(unchanged->begin(), unchanged->end(), then);
}

std::optional<DiskIdentity> DiskIdentity::parse(std::string_view description) {
  auto fields = fields_of(description);
  if (!fields) return std::nullopt;
  DiskIdentity identity;
  identity.id = (*fields)["id"];
  identity.server = (*fields)["server"];
  const bool valid = is_id(identity.id) && parse_number((*fields)["size"], identity.size_bytes) &&
                     read_right((*fields)["right"], identity.right) &&
                     read_term(*fields, identity.term);
  return valid ? std::optional(identity) : std::nullopt;
}

std::string DiskIdentity::to_text() const {
  std::string text = fmt::format("{} id={} size={}", kKind, id, size_bytes);
  if (term) text += fmt::format(" term={} since={}", term->term, term->since);
  if (term && term->unchanged) {
    text += term->unchanged->empty()
                ? fmt::format(" unchanged={}", kNoTerms)
                : fmt::format(" unchanged={}", fmt::join(*term->unchanged, ","));
  }
  for (const auto& [value, word] : kRights) {
    if (value == right) text += fmt::format(" right={}", word);
  }
  if (!server.empty()) text += fmt::format(" server={}", server);
  return text;
}

std::shared_ptr<const DiskIdentity> identity_of(Layer& layer) {
  auto identity = layer.identity();
  if (identity == nullptr || identity->size_bytes != layer.traits().size_bytes) return nullptr;
  return identity;
}

}  // namespace nbdstack

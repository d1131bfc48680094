// The texts by which things say which they are: a disk in an export's description
// (disk_identity.hpp), a cache directory (cache_identity.hpp), and what these are written in
// (key_value_text.hpp, base64.hpp, quoted_name.hpp).
//
//   any text       that is accepted is accepted again as it is written out, and then says the same
//   any values     come out of a text as they were written into it
//   any name       is fit for a line of the log
#include <algorithm>

#include "common/block/disk_identity.hpp"
#include "common/hash/base64.hpp"
#include "common/io/key_value_text.hpp"
#include "common/quoted_name.hpp"
#include "filters/cache/store/durable/cache_identity.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace nbdstack::fuzz {
namespace {

void check_disk(const std::string& text) {
  const auto disk = DiskIdentity::parse(text);
  if (!disk.has_value()) return;
  must(DiskIdentity::parse(disk->to_text()) == disk,
       "a disk's identity that is written is the same");
  if (!disk->term.has_value()) return;
  must(disk->term->since <= disk->term->term, "the last change is not in a later term");
  must(disk->term->still_true(disk->term->term), "what is true in this term is true");
  const std::uint64_t later = disk->term->term + 1;
  must(later == 0 || !disk->term->still_true(later), "of a later term nothing is known");
}

void check_cache(const std::string& text) {
  const auto cache = parse_cache_identity(text);
  if (!cache.has_value()) return;
  must(parse_cache_identity(to_text(*cache)) == cache,
       "a cache's identity that is written is the same");
  must(difference(*cache, *cache).empty(), "a cache is the one that it is");
  must(!cache->encryption || !fault_of(cache->encryption->cost),
       "no cost is accepted that cannot be paid");
}

void check_values(const std::string& text) {
  const auto values = parse_key_value_text(text);
  if (values.has_value()) {
    const std::vector<std::pair<std::string, std::string>> list(values->begin(), values->end());
    must(parse_key_value_text(to_key_value_text(list)) == values,
         "values that are written are the same");
  }
  const auto one = parse_key_value_text(to_key_value_text({{"key", text}}));
  must(one.has_value() && one->at("key") == text, "any value can be written");
}

void check_base64(const std::string& text) {
  const std::vector<std::byte> bytes = bytes_of(text);
  must(from_base64(to_base64(bytes)) == bytes, "any bytes can be written in base64");
  const auto decoded = from_base64(text);
  must(!decoded.has_value() || to_base64(*decoded) == text, "bytes have one text in base64");
}

bool is_one_line(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](unsigned char c) { return c < ' ' || c == 0x7f; });
}

void check_names(const std::string& text) {
  must(is_one_line(one_line(text)), "a message is one line");
  const std::string name = quoted_name(text);
  must(is_one_line(name) && name.size() < 512, "a name is a part of one line");
}

}  // namespace
}  // namespace nbdstack::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nbdstack;
  const std::string text = fuzz::text_of({data, size});
  fuzz::check_disk(text);
  fuzz::check_cache(text);
  fuzz::check_values(text);
  fuzz::check_base64(text);
  fuzz::check_names(text);
  return 0;
}

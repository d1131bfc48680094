#include "common/params/known_parameters.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace nbdstack {
namespace {

constexpr auto kRows = std::to_array<KnownParameter>({
    {"cache", "filter", "cache-max-size"},
    {"cache", "filter", "cache-dir"},
    {"md5", "filter", "md5-file"},
    {"s3", "plugin", "bucket"},
    {"s3", "plugin", "endpoint-url"},
    {"s3", "plugin", "key"},
});

std::string text_of(std::string_view name) {
  return unknown_parameter_text(name, "s3", kRows);
}

TEST(KnownParameters, NearestIsNamedWithItsLayer) {
  for (const char* name : {"cache-max-sise", "cache-maxsize", "cache-mxa-size", "cache_max_size",
                           "cache-max-sizes", "ache-max-size", "cache-max"}) {
    EXPECT_EQ(text_of(name), "unknown parameter '" + std::string(name) +
                                 "': did you mean cache-max-size (of the cache filter)?");
  }
  EXPECT_EQ(text_of("buckte"),
            "unknown parameter 'buckte': did you mean bucket (of the s3 plugin)?");
  EXPECT_EQ(text_of("endpoint"),
            "unknown parameter 'endpoint': did you mean endpoint-url (of the s3 plugin)?");
  EXPECT_EQ(text_of("kye"), "unknown parameter 'kye': did you mean key (of the s3 plugin)?");
}

TEST(KnownParameters, FilterThatIsMissingIsNamed) {
  EXPECT_EQ(
      text_of("md5-file"),
      "unknown parameter 'md5-file': it is for nbdstack's md5 filter, which this command line "
      "does not load; add --filter=md5");
}

TEST(KnownParameters, NothingIsGuessedFarFromAll) {
  for (const std::string& name :
       {std::string("foo"), std::string("x"), std::string(), std::string("cow-block-size"),
        std::string("ke"), std::string(1000, 'c')}) {
    EXPECT_EQ(text_of(name), "unknown parameter '" + name + "'; nbdkit s3 --help lists them all");
  }
  EXPECT_EQ(unknown_parameter_text("bucket", "s3", {}),
            "unknown parameter 'bucket'; nbdkit s3 --help lists them all");
}

TEST(KnownParameters, TableHasTheLayersEachNameOnce) {
  for (const KnownParameter& row : kRows) {
    EXPECT_EQ(std::count_if(kKnownParameters.begin(), kKnownParameters.end(),
                            [&](const KnownParameter& known) {
                              return known.layer == row.layer && known.kind == row.kind &&
                                     known.name == row.name;
                            }),
              1)
        << row.name;
  }
}

}  // namespace
}  // namespace nbdstack

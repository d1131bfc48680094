// All layers become one valid text, whatever single ones contain.
#include "tools/metrics/merged_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/registry.hpp"

namespace nbdstack {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

LayerSnapshot layer_of(const std::string& stack, const std::string& layer) {
  MetricsRegistry registry(stack, layer);
  registry.counter(metric::kRequests, {{"op", "read"}}).add(7);
  registry.histogram(metric::kRequestSeconds, {}).observe(std::chrono::seconds(1));
  return {stack, layer, true, true, parse_exposition(registry.text()).value()};
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++count;
  return count;
}

TEST(MergedTextTest, EachFamilyIsThereOnceWithAllItsSeries) {
  const std::string text =
      merged_text({layer_of("vm1", "cache"), layer_of("vm1", "s3"), layer_of("vm2", "s3")}, {});
  EXPECT_EQ(count_of(text, "# TYPE nbdstack_requests_total counter\n"), 1);
  EXPECT_EQ(count_of(text, "# TYPE nbdstack_request_duration_seconds histogram\n"), 1);
  EXPECT_THAT(text,
              HasSubstr("nbdstack_requests_total{stack=\"vm1\",layer=\"cache\",op=\"read\"} 7\n"
                        "nbdstack_requests_total{stack=\"vm1\",layer=\"s3\",op=\"read\"} 7\n"
                        "nbdstack_requests_total{stack=\"vm2\",layer=\"s3\",op=\"read\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_up{stack=\"vm2\",layer=\"s3\"} 1\n"));
  EXPECT_TRUE(parse_exposition(text)) << text;
}

TEST(MergedTextTest, OfAKilledServerOnlyThatIsShown) {
  LayerSnapshot killed = layer_of("vm1", "s3");
  killed.is_running = false;
  const std::string text = merged_text({killed}, {});
  EXPECT_THAT(text, HasSubstr("nbdstack_up{stack=\"vm1\",layer=\"s3\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("nbdstack_requests_total")));
}

TEST(MergedTextTest, AnUnreadableFileIsNamed) {
  const std::string text =
      merged_text({{"vm1", "s3", true, false, {}}, layer_of("vm1", "md5")}, {});
  EXPECT_THAT(text, HasSubstr("nbdstack_unreadable{stack=\"vm1\",layer=\"s3\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_unreadable{stack=\"vm1\",layer=\"md5\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_up{stack=\"vm1\",layer=\"s3\"} 1\n"));
}

TEST(MergedTextTest, AFamilyOfAnotherKindIsLeftOut) {
  LayerSnapshot other = layer_of("vm1", "s3");
  other.families.at(1).type = "gauge";
  LayerSnapshot liar = layer_of("vm1", "zeroblock");
  liar.families = {{"nbdstack_up", "gauge", "Up", {{"nbdstack_up", {}, "7", 7}}}};
  const std::string text = merged_text({layer_of("vm1", "md5"), other, liar}, {});
  EXPECT_THAT(text, HasSubstr("nbdstack_conflicting_families{stack=\"vm1\",layer=\"md5\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_conflicting_families{stack=\"vm1\",layer=\"s3\"} 1\n"));
  EXPECT_THAT(text,
              HasSubstr("nbdstack_conflicting_families{stack=\"vm1\",layer=\"zeroblock\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("nbdstack_up 7")));
  EXPECT_TRUE(parse_exposition(text)) << text;
}

TEST(MergedTextTest, AStackThatAsksAServiceHasItsCost) {
  MetricsRegistry registry("vm1", "s3");
  registry.counter(metric::kS3Requests, {{"op", "PutObject"}, {"code", "200"}}).add(2000);
  const LayerSnapshot s3{"vm1", "s3", true, true, parse_exposition(registry.text()).value()};
  const std::string text = merged_text({s3, layer_of("vm2", "cache")}, {});
  EXPECT_THAT(text, HasSubstr("nbdstack_cost_dollars_total{stack=\"vm1\",class=\"put\"} 0.01\n"));
  EXPECT_THAT(text, HasSubstr("nbdstack_cost_dollars_total{stack=\"vm1\",class=\"get\"} 0\n"));
  EXPECT_THAT(text, Not(HasSubstr("stack=\"vm2\",class")));
}

TEST(MergedTextTest, WithoutStacksThereIsNoText) {
  EXPECT_EQ(merged_text({}, {}), "");
}

}  // namespace
}  // namespace nbdstack

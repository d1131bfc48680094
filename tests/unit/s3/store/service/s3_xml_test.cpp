#include "plugins/s3/store/service/s3_xml.hpp"

#include <gtest/gtest.h>

#include "common/error.hpp"

namespace nbdstack {
namespace {

TEST(S3Xml, ErrorDocumentTellsCodeAndWords) {
  const ServiceError error = parse_service_error(
      "<?xml version=\"1.0\"?><Error><Code>PermanentRedirect</Code><Message>a &lt; b</Message>"
      "<Endpoint>s3.eu-west-1.amazonaws.com</Endpoint><Region>eu-west-1</Region></Error>");
  EXPECT_EQ(error.code, "PermanentRedirect");
  EXPECT_EQ(error.message, "a < b");
  EXPECT_EQ(error.endpoint, "s3.eu-west-1.amazonaws.com");
  EXPECT_EQ(error.region, "eu-west-1");
}

TEST(S3Xml, AnswerOfAProxyIsNoErrorDocument) {
  for (const char* text : {"", "<html><body>502</body></html>", "Bad Gateway", "<Error><Code>x",
                           "<Error/>", "\xff\xfe"}) {
    EXPECT_EQ(parse_service_error(text).message, "") << text;
  }
}

TEST(S3Xml, ListingKeepsOddKeys) {
  const auto page = parse_list_page(
      "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
      "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
      "<NextContinuationToken>t/1=</NextContinuationToken>"
      "<Contents><Key>a%2Bb+c%0A%25</Key><Size>8589934592</Size>"
      "<ETag>&quot;9b2cf535f27731c974343645a3985328-2&quot;</ETag></Contents>"
      "<Contents><Key>b</Key><Size>0</Size></Contents></ListBucketResult>");
  ASSERT_TRUE(page.has_value());
  ASSERT_EQ(page->objects.size(), 2U);
  EXPECT_EQ(page->objects[0].key, "a+b c\n%");
  EXPECT_EQ(page->objects[0].size_bytes, 8589934592U);
  EXPECT_EQ(page->objects[0].etag, "\"9b2cf535f27731c974343645a3985328-2\"");
  EXPECT_EQ(page->objects[1].etag, "");
  EXPECT_EQ(page->next_token, "t/1=");
}

TEST(S3Xml, KeysOfAServiceThatDoesNotEncodeStayAsTheyAre) {
  const auto page = parse_list_page(
      "<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken>x"
      "</NextContinuationToken><Contents><Key> a%2Bb+ </Key><Size>1</Size></Contents>"
      "</ListBucketResult>");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->objects.at(0).key, " a%2Bb+ ");
  EXPECT_EQ(page->next_token, "");
  EXPECT_FALSE(page->truncated);
  EXPECT_FALSE(page->key_count.has_value());
  EXPECT_FALSE(page->prefix.has_value());
}

TEST(S3Xml, PageTellsWhatTheServiceSaysOfIt) {
  const auto page = parse_list_page(
      "<ListBucketResult><EncodingType>url</EncodingType><Prefix>a+b%2Fc</Prefix>"
      "<KeyCount>3</KeyCount><IsTruncated>true</IsTruncated>"
      "<Contents><Key>a+b%2Fc1</Key></Contents>"
      "<CommonPrefixes><Prefix>x+y%2F</Prefix></CommonPrefixes></ListBucketResult>");
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->prefix, "a b/c");
  EXPECT_EQ(page->prefix_as_sent, "a+b%2Fc");
  EXPECT_EQ(page->key_count, 3U);
  EXPECT_EQ(page->common_prefixes, std::vector<std::string>{"x y/"});
  EXPECT_TRUE(page->truncated);
  EXPECT_EQ(page->next_token, "");
}

TEST(S3Xml, WhatIsNoListingIsNone) {
  EXPECT_FALSE(parse_list_page("").has_value());
  EXPECT_FALSE(parse_list_page("<html/>").has_value());
  EXPECT_FALSE(parse_list_page("<ListBucketResult><Contents>").has_value());
}

TEST(S3Xml, RemovalEscapesKeys) {
  const std::vector<Removal> removals{{.key = "a&b<c>", .etag = {}}, {.key = "d", .etag = {}}};
  EXPECT_EQ(delete_request(removals),
            "<?xml version=\"1.0\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
            "<Object><Key>a&amp;b&lt;c&gt;</Key></Object><Object><Key>d</Key></Object>"
            "<Quiet>true</Quiet></Delete>");
}

TEST(S3Xml, RemovalNamesTheVersionThatIsMeant) {
  const std::vector<Removal> removals{{.key = "a", .etag = "\"0123\""}};
  EXPECT_EQ(delete_request(removals),
            "<?xml version=\"1.0\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
            "<Object><Key>a</Key><ETag>\"0123\"</ETag></Object><Quiet>true</Quiet></Delete>");
}

// A raw carriage return is a line feed to whoever reads XML: another object would be removed.
TEST(S3Xml, RemovalNamesNoOtherObjectThanTheOneThatIsMeant) {
  using namespace std::string_literals;
  for (const std::string& key : {"v/a\rb"s, "v/a\0b"s}) {
    const std::vector<Removal> removals{{.key = "v/1", .etag = ""}, {.key = key, .etag = ""}};
    try {
      delete_request(removals);
      ADD_FAILURE() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), EINVAL);
      EXPECT_NE(std::string(error.what()).find("v/a\\x0"), std::string::npos) << error.what();
    }
  }
}

TEST(S3Xml, RemovalReportsTheKeysThatStay) {
  const auto failures = parse_delete_result(
      "<DeleteResult><Deleted><Key>a</Key></Deleted><Error><Key>b</Key><Code>AccessDenied</Code>"
      "<Message>no</Message></Error></DeleteResult>");
  ASSERT_TRUE(failures.has_value());
  ASSERT_EQ(failures->size(), 1U);
  EXPECT_EQ(failures->front().key, "b");
  EXPECT_EQ(failures->front().error.code, "AccessDenied");
  EXPECT_TRUE(parse_delete_result("<DeleteResult/>")->empty());
  EXPECT_FALSE(parse_delete_result("<Error><Code>InternalError</Code></Error>").has_value());
}

}  // namespace
}  // namespace nbdstack

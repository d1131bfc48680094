// AWS's published examples: the S3 API reference ("Signature Calculations for the Authorization
// Header", secret and access key of its own) and the Signature Version 4 test suite, of which the
// cases without path normalisation apply to S3.
#include "plugins/s3/aws/signing.hpp"
#include "common/utc_text.hpp"

#include <gtest/gtest.h>

#include <ostream>

namespace nbdstack {
namespace {

using std::chrono::seconds;

const std::string kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// 2013-05-24T00:00:00Z, the time of the S3 examples.
const WallTime kS3Time{seconds(1369353600)};
const Credentials kS3Credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                 ""};
const std::string kS3Host = "examplebucket.s3.amazonaws.com";

// 2015-08-30T12:36:00Z, the time of the test suite.
const WallTime kSuiteTime{seconds(1440938160)};
const Credentials kSuiteCredentials{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};

struct Vector {
  const char* name;
  SignableRequest request;
  std::string signed_names;
  std::string signature;
};

void PrintTo(const Vector& vector, std::ostream* out) {
  *out << vector.name;
}

class S3Example : public ::testing::TestWithParam<Vector> {};

TEST_P(S3Example, IsSignedAsTheS3ReferenceSays) {
  const Vector& vector = GetParam();
  const HeaderList headers =
      signed_headers(vector.request, kS3Credentials, {.region = "us-east-1"}, kS3Time);
  EXPECT_EQ(headers.back().first, "authorization");
  EXPECT_EQ(headers.back().second,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=" +
                vector.signed_names + ", Signature=" + vector.signature);
}

INSTANTIATE_TEST_SUITE_P(
    Signing, S3Example,
    ::testing::Values(
        Vector{"GetObjectWithRange",
               {"GET", "/test.txt", {}, {{"host", kS3Host}, {"range", "bytes=0-9"}}, kEmptySha256},
               "host;range;x-amz-content-sha256;x-amz-date",
               "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        Vector{"PutObject",
               {"PUT",
                "/test$file.text",
                {},
                {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                 {"Host", kS3Host},
                 {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
               "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
               "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        Vector{"GetBucketLifecycle",
               {"GET", "/", {{"lifecycle", ""}}, {{"host", kS3Host}}, kEmptySha256},
               "host;x-amz-content-sha256;x-amz-date",
               "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        Vector{
            "ListObjects",
            {"GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {{"host", kS3Host}}, kEmptySha256},
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"}),
    [](const auto& tested) { return std::string(tested.param.name); });

class SuiteCase : public ::testing::TestWithParam<Vector> {};

// Every case has a host and a date; a payload's hash is signed only where the case lists it.
TEST_P(SuiteCase, IsSignedAsTheSuiteSays) {
  Vector vector = GetParam();
  vector.request.headers.emplace_back("Host", "example.amazonaws.com");
  vector.request.headers.emplace_back("X-Amz-Date", basic_utc_text(kSuiteTime));
  EXPECT_EQ(authorization(vector.request, kSuiteCredentials,
                          {.region = "us-east-1", .service = "service"}, kSuiteTime),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=" +
                vector.signed_names + ", Signature=" + vector.signature);
}

const std::string kUnreserved =
    "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const std::string kForm = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e";

Vector get_case(const char* name, const std::string& path, const QueryList& query,
                const std::string& signature) {
  return {name, {"GET", path, query, {}, kEmptySha256}, "host;x-amz-date", signature};
}

INSTANTIATE_TEST_SUITE_P(
    Signing, SuiteCase,
    ::testing::Values(
        get_case("GetVanilla", "/", {},
                 "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        get_case("GetUtf8", "/\u1234", {},
                 "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
        get_case("GetUnreserved", "/" + kUnreserved, {},
                 "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        get_case("GetSpaceUnnormalized", "/example space/", {},
                 "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        get_case("GetSlashesUnnormalized", "//example//", {},
                 "87cca117541a147f6df867677d98a7d80dff226d2bfca9e4ffa899665623c7e5"),
        get_case("GetRelativeUnnormalized", "/example1/example2/../..", {},
                 "dc33e0856fd4baca4d7aa2146c38958283844764f38c74252a333df5e613003b"),
        get_case("GetQueryOrderKeyCase", "/", {{"Param2", "value2"}, {"Param1", "value1"}},
                 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        get_case("GetQueryOrderEncoded", "/",
                 {{"Param-3", "Value3"}, {"Param", "Value2"}, {"\u1234", "Value1"}},
                 "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"),
        get_case("GetQueryUnreserved", "/", {{kUnreserved, kUnreserved}},
                 "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
        get_case("GetQueryUtf8", "/", {{"\u1234", "bar"}},
                 "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        Vector{"GetHeaderKeyDuplicate",
               {"GET",
                "/",
                {},
                {{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}},
                kEmptySha256},
               "host;my-header1;x-amz-date",
               "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
        Vector{"GetHeaderValueTrim",
               {"GET",
                "/",
                {},
                {{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}},
                kEmptySha256},
               "host;my-header1;my-header2;x-amz-date",
               "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        Vector{"PostVanilla",
               {"POST", "/", {}, {}, kEmptySha256},
               "host;x-amz-date",
               "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        Vector{"PostForm",
               {"POST",
                "/",
                {},
                {{"Content-Type", "application/x-www-form-urlencoded"},
                 {"Content-Length", "13"},
                 {"x-amz-content-sha256", kForm}},
                kForm},
               "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
               "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
        Vector{"GetWithSessionToken",
               {"GET",
                "/",
                {},
                {{"X-Amz-Security-Token",
                  "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"}},
                kEmptySha256},
               "host;x-amz-date;x-amz-security-token",
               "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(Signing, SessionTokenIsSentAndSigned) {
  Credentials temporary = kS3Credentials;
  temporary.session_token = "token";
  const HeaderList headers =
      signed_headers({"GET", "/", {}, {{"host", kS3Host}}, kEmptySha256}, temporary, {}, kS3Time);
  EXPECT_EQ(headers[3], HeaderList::value_type("x-amz-security-token", "token"));
  EXPECT_NE(headers.back().second.find(";x-amz-security-token,"), std::string::npos);
}

TEST(Signing, PathIsEncodedOnceAndKeepsItsSlashes) {
  EXPECT_EQ(encode_path("/b/a//../50%+ü"), "/b/a//../50%25%2B%C3%BC");
}

TEST(Signing, QueryThatIsSentIsTheOneThatIsSigned) {
  const QueryList query{{"prefix", "a b/+"}, {"delete", ""}};
  EXPECT_EQ(encode_query(query), "delete=&prefix=a%20b%2F%2B");
  const SignableRequest request{"POST", "/", query, {}, kEmptySha256};
  EXPECT_NE(canonical_request(request).find("\ndelete=&prefix=a%20b%2F%2B\n"), std::string::npos);
}

}  // namespace
}  // namespace nbdstack

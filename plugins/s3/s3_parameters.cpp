#include "plugins/s3/s3_parameters.hpp"

#include <fmt/core.h>

#include <charconv>
#include <chrono>
#include <utility>

#include "common/error.hpp"
#include "common/params/values.hpp"
#include "plugins/s3/aws/bucket_name.hpp"
#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/s3backer/s3backer_volume.hpp"
#include "plugins/s3/layout/volume_descriptor.hpp"

namespace nbdstack {
namespace {

int parse_level(const std::string& value) {
  int level = 0;
  const char* const end = value.data() + value.size();
  const auto [rest, problem] = std::from_chars(value.data(), end, level);
  if (problem != std::errc() || rest != end) {
    throw Error(EINVAL, fmt::format("compress-level: '{}' is not a number", value));
  }
  return level;
}

// Returns a row whose target shows that the parameter was given, even if its value is empty.
Parameter text_parameter(std::string name, std::optional<std::string>& target, std::string value,
                         std::string help) {
  return {.name = std::move(name),
          .value = std::move(value),
          .help = std::move(help),
          .range_text = "",
          .default_text = "",
          .set = [&target](const std::string& text) { target = text; }};
}

Parameter retries_parameter(unsigned& target) {
  Parameter row = number_parameter("retries", target, 0, 100, "attempts after the first one");
  row.default_text = "unlimited";
  return row;
}

}  // namespace

ParameterTable S3Parameters::table() {
  Rows all;
  for (Rows rows :
       {volume_rows(), coding_rows(), service_rows(), keeping_rows(), transfer_rows()}) {
    for (Parameter& row : rows) all.push_back(std::move(row));
  }
  return ParameterTable(std::move(all));
}

S3Parameters::Rows S3Parameters::volume_rows() {
  VolumeRequest& request = serving_.request;
  return {
      string_parameter("bucket", store_.bucket, "[s3://]NAME[/KEY]",
                       "the bucket, access point or directory (required)"),
      string_parameter("key", request.key, "KEY", "the volume's name in the bucket"),
      size_parameter("size", request.size_bytes, {.minimum = 1}, "",
                     "create a volume of this size"),
      size_parameter("object-size", request.object_size,
                     {.minimum = kS3backerBlock_bytes_min,
                      .maximum = kS3backerBlock_bytes_max,
                      .power_of_two = true},
                     format_size(kObjectSize_bytes_default), "bytes in an object of a new volume"),
      choice_parameter(
          "layout", request.layout,
          {{"auto", Layout::automatic}, {"own", Layout::own}, {"s3backer", Layout::s3backer}},
          "whose volume it is"),
      text_parameter("prefix", request.prefix, "TEXT",
                     "with layout=s3backer: what all names begin with, instead of KEY/"),
      bool_parameter("block-hash-prefix", request.hash_prefix,
                     "with layout=s3backer: names begin with a hash"),
      string_parameter("default-content-encoding", request.default_content_encoding, "VALUE",
                       "with layout=s3backer: Content-Encoding of objects that come without"),
      choice_parameter("own", serving_.ownership,
                       {{"auto", Ownership::automatic},
                        {"lease", Ownership::lease},
                        {"force", Ownership::force},
                        {"none", Ownership::none}},
                       "be the volume's only writer"),
      duration_parameter("lease-time", serving_.lease_duration,
                         "how long the right to write lasts when it is not renewed"),
      bool_parameter("readonly", request.readonly, "change nothing, and own nothing"),
      volumes_parameter(),
  };
}

// A boolean, or "any".
Parameter S3Parameters::volumes_parameter() {
  Parameter row = bool_parameter("volumes", volumes_,
                                 "serve every volume below key (any: or image), by export name");
  row.value = "true|false|any";
  auto set = [this, set_bool = std::move(row.set)](const std::string& value) {
    serving_.request.images = value == "any";
    if (value == "any") {
      volumes_ = true;
    } else {
      set_bool(value);
    }
  };
  row.set = std::move(set);
  return row;
}

S3Parameters::Rows S3Parameters::coding_rows() {
  VolumeRequest& request = serving_.request;
  const auto set_compression = [&request](std::size_t index) {
    request.compression =
        std::array{Compression::none, Compression::deflate, Compression::zstd}[index];
  };
  const auto set_key_length = [&request](unsigned bytes) { request.key_length_bytes = bytes; };
  return {
      word_parameter("compress", {"none", "deflate", "zstd"}, 0, set_compression,
                     "compress objects that are written"),
      {.name = "compress-level",
       .value = "N",
       .help = "how well: 1 to 9 (deflate), -131072 to 22 (zstd)",
       .range_text = "",
       .default_text = "the library's",
       .set = [&request](
                  const std::string& value) { request.compression_level = parse_level(value); }},
      string_parameter("encrypt", request.cipher, "CIPHER",
                       "encrypt a new volume: aes-256-gcm; with layout=s3backer its ciphers"),
      passphrase_parameter("passphrase", request.passphrase,
                           "the passphrase of an encrypted volume"),
      number_row("key-length", set_key_length, 1, 1024, "the cipher's",
                 "with layout=s3backer: bytes of the cipher's key"),
  };
}

S3Parameters::Rows S3Parameters::service_rows() {
  CredentialParameters& identity = store_.identity;
  return {
      string_parameter("endpoint-url", store_.endpoint_url, "URL",
                       "http[s]://HOST[:PORT], or file:///DIR; AWS where it is not given"),
      string_parameter("region", identity.region, "REGION", "the region to sign for"),
      password_parameter("access-key", identity.access_key, "the access key"),
      password_parameter("secret-key", identity.secret_key, "the secret key"),
      password_parameter("session-token", identity.session_token, "the session token"),
      string_parameter("profile", identity.profile, "NAME", "the profile in ~/.aws to use"),
      bool_parameter("anonymous", identity.anonymous, "do not sign requests: for public buckets"),
      path_parameter("ca-file", store_.ca_file, "certificates to trust instead of the system's"),
      bool_parameter("tls-verify", store_.tls_verify, "verify the service's certificate"),
      bool_parameter("virtual-host", store_.virtual_host, "the profile's",
                     "put the bucket into the host name, not the path"),
  };
}

S3Parameters::Rows S3Parameters::keeping_rows() {
  auto& headers = store_.options.headers;
  return {
      string_parameter("storage-class", keeping_.storage_class, "CLASS",
                       "storage class of the disk's blocks that are written"),
      string_parameter("sse", keeping_.sse, "AES256|aws:kms", "encryption by the service"),
      string_parameter("sse-kms-key", keeping_.sse_kms_key, "ID", "its key, with sse=aws:kms"),
      string_parameter("acl", keeping_.acl, "ACL", "canned ACL of objects that are written"),
      bool_parameter("requester-pays", requester_pays_, "pay for requests to another's bucket"),
      {.name = "header",
       .value = "NAME:VALUE",
       .help = "a header for every request; may be given several times",
       .range_text = "",
       .default_text = "",
       .set = [&headers](const std::string& value) { headers.push_back(parse_header(value)); }},
  };
}

S3Parameters::Rows S3Parameters::transfer_rows() {
  ServiceOptions& options = store_.options;
  return {
      number_parameter("connections", store_.connections, 1, 256, "connections to the service"),
      duration_parameter(
          "timeout", store_.timeout_ms,
          "how long one operation goes on, with all its attempts, without getting on"),
      retries_parameter(store_.retries),
      duration_parameter("stop-timeout", options.stop_timeout_ms,
                         "how long last writes wait for a silent service when the server stops"),
      bool_parameter("http2", options.http2, "use HTTP/2 where the service offers it"),
      bool_parameter("trust-listing", options.trust_listing,
                     "take for absent what the service does not list"),
      bool_parameter("hedge", options.hedging,
                     "send reads a second time that take longer than nearly all others"),
      size_parameter("upload-limit", options.upload_limit_bytes_s, {.minimum = 1024}, "unlimited",
                     "bytes sent in a second, by all requests together"),
      size_parameter("download-limit", options.download_limit_bytes_s, {.minimum = 1024},
                     "unlimited", "bytes received in a second, by all requests together"),
  };
}

void S3Parameters::check() {
  split_bucket();
  normalise();
  VolumeRequest& request = serving_.request;
  request.bucket = store_.bucket;
  check_lease_duration(serving_.lease_duration);
  serving_.connections = store_.connections;
  if (zone_of_directory_bucket(store_.bucket).has_value()) {
    keep_in_directory_bucket();
  } else {
    store_.options.put_headers = keeping_.put_headers();
    store_.options.block_headers = keeping_.block_headers();
  }
  if (requester_pays_) store_.options.headers.emplace_back("x-amz-request-payer", "requester");
  if (!volumes_) request.images = true;
  if (volumes_ && request.size_bytes.has_value()) {
    throw Error(EINVAL, "volumes=true serves volumes that exist: leave out size=");
  }
  if (request.readonly && serving_.ownership == Ownership::force) {
    throw Error(EINVAL,
                "a server that only reads (readonly=true, nbdkit -r) owns nothing: leave out "
                "own=force");
  }
}

void S3Parameters::keep_in_directory_bucket() {
  if (requester_pays_) throw Error(EINVAL, "requester-pays: of a directory bucket its owner pays");
  HeaderList& headers = store_.options.session_headers;
  headers = keeping_.session_headers();
  // Without this header the service grants as much as the policies allow.
  if (serving_.request.readonly) headers.emplace_back("x-amz-create-session-mode", "ReadOnly");
}

// bucket=NAME/KEY, as s3backer has it, and as URLs do.
void S3Parameters::split_bucket() {
  auto [bucket, first] = nbdstack::split_bucket(store_.bucket);
  if (bucket.empty()) {
    throw Error(EINVAL, "bucket parameter missing: bucket=NAME says where the disk is");
  }
  store_.bucket = std::move(bucket);
  std::string& key = serving_.request.key;
  key = key.empty() ? first : first.empty() ? key : first + "/" + key;
}

void S3Parameters::normalise() {
  VolumeRequest& request = serving_.request;
  request.key_as_given = std::exchange(request.key, normalised_key(request.key));
  if (request.key_as_given == request.key) request.key_as_given.clear();
}

}  // namespace nbdstack

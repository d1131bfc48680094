#include "tests/unit/s3/layout/s3backer/s3backer_vectors.hpp"

#include <openssl/evp.h>
#include <zlib.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace nbdstack::s3backer_vectors {
namespace {

constexpr std::size_t kImage_bytes = 1024UL * 1024;
constexpr std::size_t kBlock_bytes = 4096;

std::string path_of(const std::string& file) {
  return std::string(NBDSTACK_TEST_VECTORS) + "/s3backer/" + file;
}

std::vector<std::byte> from_base64(const std::string& text) {
  std::vector<std::byte> bytes(text.size() / 4 * 3);
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()),
                                     static_cast<int>(text.size()));
  if (length < 0) throw std::runtime_error("bad base64");
  // The padding decodes to zeros.
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  return bytes;
}

ObjectAttributes parse_headers(const nlohmann::json& headers) {
  const std::string metadata = "x-amz-meta-";
  ObjectAttributes attributes;
  for (const auto& [name, value] : headers.items()) {
    if (name == "content-type") attributes.content_type = value;
    if (name == "content-encoding") attributes.content_encoding = value;
    if (name.starts_with(metadata)) {
      attributes.metadata.emplace_back(name.substr(metadata.size()), value);
    }
  }
  return attributes;
}

void parse_option(const std::string& option, StoredVolume& volume) {
  const std::string value = option.substr(option.find('=') + 1);
  if (option.starts_with("compress=")) volume.compression = parse_compression(value).value();
  if (option.starts_with("compress-level=")) volume.level = std::stoi(value);
  if (option.starts_with("encrypt=")) volume.cipher = value;
  if (option == "blockHashPrefix=true") volume.with_hash = true;
}

std::vector<std::byte> read_image() {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(
      gzopen(path_of("image.raw.gz").c_str(), "rb"), gzclose);
  std::vector<std::byte> image(kImage_bytes);
  if (file == nullptr ||
      gzread(file.get(), image.data(), kImage_bytes) != static_cast<int>(kImage_bytes)) {
    throw std::runtime_error("cannot read image.raw.gz");
  }
  return image;
}

}  // namespace

S3backerFormat StoredVolume::format() const {
  S3backerCoding coding{.compression = compression, .level = level, .cipher = nullptr};
  if (!cipher.empty()) {
    coding.cipher = std::make_unique<const S3backerCipher>(S3backerCipherSettings{
        .cipher = cipher, .password = password.value(), .bucket = bucket, .prefix = prefix});
  }
  return {names(), geometry, std::move(coding)};
}

const StoredObject& StoredVolume::object_of(BlockNumber block) const {
  const std::string key = names().block(block);
  for (const StoredObject& object : objects) {
    if (object.key == key) return object;
  }
  throw std::runtime_error("no object " + key);
}

const std::vector<std::string>& volume_names() {
  static const std::vector<std::string> names{
      "plain-prefix", "zstd", "deflate-9", "deflate-aes256-subdir", "zstd-aes128-hashprefix-prefix",
      "mixed"};
  return names;
}

StoredVolume load(const std::string& name) {
  std::ifstream file(path_of(name + ".json"));
  const nlohmann::json json = nlohmann::json::parse(file);
  StoredVolume volume;
  volume.bucket = json.at("bucket");
  volume.prefix = json.at("prefix");
  volume.geometry = BlockGeometry(json.at("size"), json.at("block_size"));
  if (!json.at("password").is_null()) volume.password = json.at("password");
  for (const std::string option : json.at("options")) parse_option(option, volume);
  for (const auto& object : json.at("objects")) {
    volume.objects.push_back({.key = object.at("key"),
                              .attributes = parse_headers(object.at("headers")),
                              .body = from_base64(object.at("body_base64"))});
  }
  return volume;
}

std::vector<std::byte> block_of_image(BlockNumber block) {
  static const std::vector<std::byte> image = read_image();
  const auto first = image.begin() + static_cast<std::ptrdiff_t>(block.value * kBlock_bytes);
  return {first, first + kBlock_bytes};
}

}  // namespace nbdstack::s3backer_vectors

// The known state of an object: which version it is, or that there is none.
#pragma once

#include <string>
#include <utility>

namespace nbdstack {

class ObjectVersion {
 public:
  // An unknown version.
  ObjectVersion() = default;

  static ObjectVersion absent() { return {Kind::absent, {}}; }
  // The ETag as the store returned it. Without an ETag the version is not known.
  static ObjectVersion of(std::string etag) {
    return etag.empty() ? ObjectVersion() : ObjectVersion{Kind::present, std::move(etag)};
  }

  [[nodiscard]] bool is_known() const { return kind_ != Kind::unknown; }
  [[nodiscard]] bool is_absent() const { return kind_ == Kind::absent; }
  [[nodiscard]] bool is_present() const { return kind_ == Kind::present; }
  [[nodiscard]] const std::string& etag() const { return etag_; }

  // For messages: `ETag "abc"`, `no object`.
  [[nodiscard]] std::string describe() const {
    return is_present() ? "ETag " + etag_ : is_absent() ? "no object" : "an unknown version";
  }

  friend bool operator==(const ObjectVersion&, const ObjectVersion&) = default;

 private:
  enum class Kind : unsigned char { unknown, absent, present };

  ObjectVersion(Kind kind, std::string etag) : kind_(kind), etag_(std::move(etag)) {}

  Kind kind_ = Kind::unknown;
  std::string etag_;
};

}  // namespace nbdstack

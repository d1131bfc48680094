// The parameters of the s3 plugin, which its command (nbdstack-s3) has as well. The man page
// describes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/params/parameters.hpp"
#include "plugins/s3/serving/served_volume.hpp"
#include "plugins/s3/serving/store_factory.hpp"

namespace nbdstack {

class S3Parameters {
 public:
  // Its rows write into this object.
  ParameterTable table();

  // nbdkit -r: the same as readonly=true. Before check().
  void serve_readonly() { serving_.request.readonly = true; }

  // After the last parameter: what does not go together. Throws Error(EINVAL).
  void check();

  // From check() on.
  [[nodiscard]] const StoreSettings& store() const { return store_; }
  [[nodiscard]] const ServingSettings& serving() const { return serving_; }
  [[nodiscard]] bool serves_many() const { return volumes_; }

 private:
  using Rows = std::vector<Parameter>;

  Rows volume_rows();
  Rows coding_rows();
  Rows service_rows();
  Rows keeping_rows();
  Rows transfer_rows();
  Parameter volumes_parameter();
  void split_bucket();
  void keep_in_directory_bucket();
  void normalise();

  StoreSettings store_;
  ServingSettings serving_;
  KeepingOptions keeping_;

  bool requester_pays_ = false;
  bool volumes_ = false;
};

}  // namespace nbdstack

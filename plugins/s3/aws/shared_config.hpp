// The two files of AWS tools: ~/.aws/credentials and ~/.aws/config, and the profiles in them.
//
// They are read as the AWS CLI reads them (botocore's configloader): a profile is [NAME] in
// credentials and [profile NAME] in config, where NAME may be quoted. [default] in config is the
// default profile, too, unless there is a [profile default]. Comments are whole lines. Names of
// settings are case-insensitive, values are taken literally. A line indented further than the
// setting before it belongs to that setting: NAME in it is found as "SETTING.NAME". If both files
// have a setting, that in credentials counts. In config, a [services NAME] has settings of services
// apart from profiles, and an [sso-session NAME] has a single sign-on that several profiles share.
//
//   the file                 counts as
//   does not exist           empty
//   cannot be opened         empty, and the reason is kept: HOME may be another user's
//   is not of this format    Error(EINVAL)
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "plugins/s3/aws/environment.hpp"

namespace nbdstack {

// Names are in lower case.
using ProfileSettings = std::map<std::string, std::string>;

struct Profile {
  std::string name;
  ProfileSettings in_credentials;
  ProfileSettings in_config;

  // Returns an empty text if neither file has it.
  [[nodiscard]] std::string setting(const std::string& lower_case_name) const;
};

class SharedConfig {
 public:
  // Reads AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE or their defaults. Throws Error(EINVAL)
  // that names file and line if one is not of this format.
  static SharedConfig read(const Environment& environment);

  // Returns the reason why a file could not be opened; empty if each was opened or does not exist.
  [[nodiscard]] const std::string& fault() const { return fault_; }

  // Returns a setting for a service ("s3") in the profile, or in the [services] that it names: the
  // service's own, or else that of all services. Empty if there is none.
  [[nodiscard]] std::string service_setting(const Profile& profile, const std::string& service,
                                            const std::string& lower_case_name) const;

  // Returns null if neither file has it.
  [[nodiscard]] const Profile* find(const std::string& name) const;

  // Returns the [sso-session NAME] of config; null if there is none.
  [[nodiscard]] const ProfileSettings* find_sso_session(const std::string& name) const;

  [[nodiscard]] const std::string& credentials_path() const { return credentials_path_; }
  [[nodiscard]] const std::string& config_path() const { return config_path_; }

 private:
  std::string credentials_path_;
  std::string config_path_;
  std::string fault_;
  std::map<std::string, Profile> profiles_;
  std::map<std::string, ProfileSettings> services_;
  std::map<std::string, ProfileSettings> sso_sessions_;
};

// Returns the form in which names are looked up.
std::string in_lower_case(std::string_view text);

}  // namespace nbdstack

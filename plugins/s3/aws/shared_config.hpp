// The two files of AWS tools: ~/.aws/credentials and ~/.aws/config, and the profiles in them.
//
// Read as the AWS CLI reads them (botocore's configloader): a profile is [NAME] in credentials and
// [profile NAME] in config, where NAME may be quoted; the default profile may go without the word
// "profile", which wins where both are there. Comments are whole lines. Names of settings are
// case-insensitive, values are taken literally. A line indented further than the setting before it
// belongs to that setting: NAME in it is found as "SETTING.NAME". Where both files have a setting,
// that in credentials counts. A [services NAME] in config holds what is said of services apart from
// profiles, an [sso-session NAME] what several profiles share of a single sign-on.
//
//   the file               is taken as
//   does not exist         empty
//   cannot be opened       empty, and the reason is kept: HOME may be another user's
//   is no such file        Error(EINVAL)
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "plugins/s3/aws/environment.hpp"

namespace nbdstack {

// Names in lower case.
using ProfileSettings = std::map<std::string, std::string>;

struct Profile {
  std::string name;
  ProfileSettings in_credentials;
  ProfileSettings in_config;

  // Empty where neither file has it.
  [[nodiscard]] std::string setting(const std::string& lower_case_name) const;
};

class SharedConfig {
 public:
  // From AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE or their defaults. Throws Error(EINVAL)
  // that names file and line for what is no such file.
  static SharedConfig read(const Environment& environment);

  // Why a file could not be opened; empty where both were, or are not there.
  [[nodiscard]] const std::string& fault() const { return fault_; }

  // What the profile, or the [services] that it names, say of a service ("s3"): its own setting
  // first, then that of all services. Empty where there is none.
  [[nodiscard]] std::string service_setting(const Profile& profile, const std::string& service,
                                            const std::string& lower_case_name) const;

  // Null where neither file has it.
  [[nodiscard]] const Profile* find(const std::string& name) const;

  // The [sso-session NAME] of config; null where there is none.
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

// As names are looked up.
std::string in_lower_case(std::string_view text);

}  // namespace nbdstack

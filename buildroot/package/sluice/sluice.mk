################################################################################
#
# sluice
#
################################################################################

SLUICE_SITE = $(realpath $(BR2_EXTERNAL_SLUICE_PATH)/..)
SLUICE_SITE_METHOD = local
SLUICE_VERSION := $(or $(shell git -C $(SLUICE_SITE) describe --tags --always --dirty 2>/dev/null),unknown)
SLUICE_LICENSE = MIT
SLUICE_LICENSE_FILES = LICENSE
SLUICE_GOMOD = sluice
SLUICE_GO_ENV = CGO_ENABLED=0
SLUICE_LDFLAGS = -s -w -X main.version=$(SLUICE_VERSION)
SLUICE_BUILD_TARGETS = cmd/sluiced cmd/sluicectl

# What is built in the sources' own folder is not for the target.
SLUICE_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /bin --exclude /dist --exclude /run --exclude /buildroot

ifeq ($(BR2_PACKAGE_SLUICE_FLEET),y)
SLUICE_BUILD_TARGETS += cmd/sluice-fleet
endif

# Local sources are not vendored by the download step. Where nobody has run
# "go mod vendor" in them, it is done as for a download.
define SLUICE_VENDOR
	[ -d $(@D)/vendor ] || \
		(cd $(@D) && $(HOST_GO_COMMON_ENV) GOPROXY=direct GOFLAGS=-mod=mod $(GO_BIN) mod vendor -modcacherw)
endef
SLUICE_PRE_BUILD_HOOKS += SLUICE_VENDOR

define SLUICE_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluiced.service \
		$(TARGET_DIR)/usr/lib/systemd/system/sluiced.service
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluiced.service.d/restart-steps.conf \
		$(TARGET_DIR)/usr/lib/systemd/system/sluiced.service.d/restart-steps.conf
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluice-host-apply.path \
		$(TARGET_DIR)/usr/lib/systemd/system/sluice-host-apply.path
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluice-host-apply.service \
		$(TARGET_DIR)/usr/lib/systemd/system/sluice-host-apply.service
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluice-update.path \
		$(TARGET_DIR)/usr/lib/systemd/system/sluice-update.path
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluice-update.service \
		$(TARGET_DIR)/usr/lib/systemd/system/sluice-update.service
	$(INSTALL) -D -m 0644 $(@D)/systemd/system/sluice-console@.service \
		$(TARGET_DIR)/usr/lib/systemd/system/sluice-console@.service
	$(INSTALL) -D -m 0644 $(@D)/systemd/networkd.conf.d/60-sluice.conf \
		$(TARGET_DIR)/usr/lib/systemd/networkd.conf.d/60-sluice.conf
	$(INSTALL) -D -m 0644 $(@D)/systemd/tmpfiles.d/sluice.conf \
		$(TARGET_DIR)/usr/lib/tmpfiles.d/sluice.conf
	$(INSTALL) -D -m 0644 $(@D)/systemd/sysctl.d/60-sluice.conf \
		$(TARGET_DIR)/usr/lib/sysctl.d/60-sluice.conf
	$(INSTALL) -D -m 0644 $(@D)/systemd/debian/sluiced.conf \
		$(TARGET_DIR)/usr/share/sluice/sluiced.conf
endef

ifeq ($(BR2_PACKAGE_SLUICE_APPLIANCE),y)
define SLUICE_INSTALL_APPLIANCE
	$(INSTALL) -D -m 0644 $(@D)/systemd/appliance/journald.conf.d/60-sluice.conf \
		$(TARGET_DIR)/usr/lib/systemd/journald.conf.d/60-sluice.conf
	$(INSTALL) -D -m 0644 $(@D)/systemd/appliance/system.conf.d/60-sluice.conf \
		$(TARGET_DIR)/usr/lib/systemd/system.conf.d/60-sluice.conf
	$(INSTALL) -D -m 0644 $(@D)/systemd/appliance/sysctl.d/60-sluice-panic.conf \
		$(TARGET_DIR)/usr/lib/sysctl.d/60-sluice-panic.conf
endef
SLUICE_POST_INSTALL_TARGET_HOOKS += SLUICE_INSTALL_APPLIANCE
endif

define SLUICE_USERS
	sluice 960 sluice 960 * /var/lib/sluice - - Sluice relay
endef

define SLUICE_LINUX_CONFIG_FIXUPS
	$(call KCONFIG_ENABLE_OPT,CONFIG_IPV6)
	$(call KCONFIG_ENABLE_OPT,CONFIG_IP_ADVANCED_ROUTER)
	$(call KCONFIG_ENABLE_OPT,CONFIG_IP_MULTIPLE_TABLES)
	$(call KCONFIG_ENABLE_OPT,CONFIG_IPV6_MULTIPLE_TABLES)
	$(call KCONFIG_ENABLE_OPT,CONFIG_IP_MULTICAST)
endef

$(eval $(golang-package))

package pipeline

// hostingNetworks are the autonomous systems of the large hosting providers,
// as the regional registries list them: nobody browses from there.
//
// Left out on purpose: Cloudflare (13335), Akamai (36183) and Fastly (54113),
// which carry Apple's Private Relay; Google's own network (15169), which
// carries Chrome's prefetch proxy; and hosts known for VPN exits (M247,
// Datacamp). People do come from those.
var hostingNetworks = map[uint32]bool{
	16509: true, 14618: true, 8987: true, // Amazon
	396982: true, 19527: true, // Google Cloud
	8075:  true,              // Microsoft Azure
	31898: true,              // Oracle Cloud
	36351: true,              // IBM Cloud
	45102: true, 37963: true, // Alibaba Cloud
	132203: true, 45090: true, // Tencent Cloud
	136907: true, 55990: true, // Huawei Cloud
	16276: true,               // OVH
	24940: true, 213230: true, // Hetzner
	14061: true,              // DigitalOcean
	63949: true,              // Linode
	20473: true,              // Vultr
	12876: true,              // Scaleway
	51167: true,              // Contabo
	60781: true, 28753: true, // Leaseweb
	8560:   true,              // IONOS
	47583:  true,              // Hostinger
	202053: true,              // UpCloud
	33070:  true, 19994: true, // Rackspace
}
